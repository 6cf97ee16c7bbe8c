#include "netcounters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"

/* Both files pair a line of names with a line of numbers, same prefix:
 * "Tcp: RtoAlgorithm RtoMin ..." / "Tcp: 1 200 ...". */
static long value_under(char *names, char *numbers, const char *wanted)
{
    char *name_rest, *number_rest;
    char *name = strtok_r(names, " \n", &name_rest);
    char *number = strtok_r(numbers, " \n", &number_rest);

    while (name && number) {
        if (strcmp(name, wanted) == 0)
            return atol(number);
        name = strtok_r(NULL, " \n", &name_rest);
        number = strtok_r(NULL, " \n", &number_rest);
    }
    return -1;
}

static long counter(const char *path, const char *prefix, const char *wanted)
{
    static char names[8192], numbers[8192];
    FILE *file = fopen(path, "re");
    long value = -1;

    require(file != NULL);
    while (value < 0 && fgets(names, sizeof(names), file)) {
        require(fgets(numbers, sizeof(numbers), file) != NULL);
        if (strncmp(names, prefix, strlen(prefix)) == 0)
            value = value_under(names, numbers, wanted);
    }
    fclose(file);
    require(value >= 0);
    return value;
}

struct netcounters netcounters_now(void)
{
    return (struct netcounters){
        .out_rsts = counter("/proc/self/net/snmp", "Tcp:", "OutRsts"),
        .estab_resets = counter("/proc/self/net/snmp", "Tcp:", "EstabResets"),
        .abort_on_close = counter("/proc/self/net/netstat", "TcpExt:", "TCPAbortOnClose"),
        .abort_on_data = counter("/proc/self/net/netstat", "TcpExt:", "TCPAbortOnData"),
    };
}

long resets_since(const struct netcounters *before)
{
    return netcounters_now().estab_resets - before->estab_resets;
}
