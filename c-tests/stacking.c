#include "stacking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "children.h"
#include "require.h"

struct path beside_this_program(const char *relative)
{
    struct path path;

    strcpy(path.text, own_program());
    char *const name = strrchr(path.text, '/') + 1;

    require((size_t)(name - path.text) + strlen(relative) < sizeof(path.text));
    strcpy(name, relative);
    return path;
}

static const char *or_what_is_preloaded(const char *library)
{
    const char *here = getenv("LD_PRELOAD");

    return library ? library : here ? here : "";
}

struct setting preloading(const char *first, const char *second)
{
    struct setting setting;
    const int length =
        snprintf(setting.text, sizeof(setting.text), "LD_PRELOAD=%s:%s",
                 or_what_is_preloaded(first), or_what_is_preloaded(second));

    require(length > 0 && (size_t)length < sizeof(setting.text));
    return setting;
}
