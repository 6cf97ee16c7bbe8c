/* The response of response.h, left in a stdio buffer. */
#ifndef STREAMED_H
#define STREAMED_H

#include <stdio.h>

/* Nothing of it has left when this returns. One stream at a time: the buffer is one. */
void print_response_unflushed(FILE *stream);

#endif
