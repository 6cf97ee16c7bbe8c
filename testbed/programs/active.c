/* Says whether close() lingers in this process: what linger_shim_active() says, or "absent" where there is no such
 * function. With an argument, loads that library first. Linked with -llinger or not, it is the same source. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    void *library = RTLD_DEFAULT;
    int (*active)(void);

    if (argc > 1) {
        library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
        if (!library) {
            fprintf(stderr, "%s\n", dlerror());
            return 1;
        }
    }
    active = (int (*)(void))dlsym(library, "linger_shim_active");
    if (active)
        printf("%d\n", active());
    else
        puts("absent");
    return 0;
}
