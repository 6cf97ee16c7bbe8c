/* Programs run with several libraries preloaded at once. */
#ifndef STACKING_H
#define STACKING_H

struct path {
    char text[4096];
};

/* A file named from where the running program is: tests are built next to each other. */
struct path beside_this_program(const char *relative);

struct setting {
    char text[8192];
};

/* "LD_PRELOAD=first:second"; NULL stands for what this run itself has preloaded, which
 * may be nothing. */
struct setting preloading(const char *first, const char *second);

#endif
