/* A program that has early_closer.so among its needed libraries: its constructor then
 * runs before those of all that is preloaded. Waits to be told to end. */
#include <unistd.h>

int main(void)
{
    char word;

    return read(4, &word, 1) == 1 ? 0 : 1;
}
