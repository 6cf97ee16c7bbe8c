/* What these servers have in common, and what has nothing to do with how they let go of a connection: a listening
 * socket, the end of a request's head, and an answer that is too long to leave at once. */
#ifndef WEB_H
#define WEB_H

#include <stdbool.h>
#include <stddef.h>

enum { WEB_HEAD_BYTES = 4096 };

/* A listening socket on 127.0.0.1 and any port, which it prints. `flags` are those of socket(2). */
int web_listen(int flags);

/* Whether a request's head ends within these bytes, or never will. */
bool web_head_ends(const char *head, size_t bytes);

/* The answer: "413 Content Too Large" and a page of 256 KiB. It stays valid. */
struct web_answer {
    const char *bytes;
    size_t size;
};
struct web_answer web_answer(void);

/* For servers that block: reads a request's head, and nothing of its body on purpose; false if there is none. */
bool web_read_head(int fd);

/* For servers that block: writes all of the answer; false if the client went away. */
bool web_write_answer(int fd);

/* Whether `option` is among the arguments. */
bool web_asked_for(const char *option, int count, char **arguments);

/* Ends the program with what errno says, unless `holds`. */
void web_require(bool holds, const char *what);

#endif
