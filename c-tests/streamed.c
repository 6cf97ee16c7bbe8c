#include "streamed.h"

#include "require.h"
#include "response.h"

/* setbuf(3): glibc heeds the size only of a buffer it is given. */
static char room[RESPONSE_BYTES + 4096];

/* The same bytes as send_response() sends, or read_response() would object. */
static void fill(unsigned char body[RESPONSE_BYTES])
{
    for (size_t i = 0; i < RESPONSE_BYTES; i++)
        body[i] = (unsigned char)(i % 251);
}

void print_response_unflushed(FILE *stream)
{
    static unsigned char body[RESPONSE_BYTES];

    fill(body);
    require(setvbuf(stream, room, _IOFBF, sizeof(room)) == 0);
    require(fwrite(body, 1, sizeof(body), stream) == sizeof(body));
}
