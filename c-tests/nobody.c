#include "nobody.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "require.h"

static const unsigned NOBODY = 65534;

/* In a user namespace with one id there is nobody else to become. */
static bool can_be_nobody(void)
{
    char map[256];
    FILE *const file = fopen("/proc/self/uid_map", "re");
    unsigned first = 0, outside = 0, count = 0;

    require(file != NULL);
    require(fgets(map, sizeof(map), file) != NULL);
    fclose(file);
    require(sscanf(map, "%u %u %u", &first, &outside, &count) == 3);
    return NOBODY - first < count;
}

void give_up_privilege(void)
{
    if (!can_be_nobody())
        return;
    require(setgid(NOBODY) == 0);
    require(setuid(NOBODY) == 0);
    require(prctl(PR_SET_DUMPABLE, 1) == 0);
    require(access("/proc/self/fd", R_OK) == 0);
}

void warn_unless_can_be_nobody(void)
{
    if (!can_be_nobody())
        print_message("One id in this user namespace: nobody else is there. Run the tests as root for another.\n");
}
