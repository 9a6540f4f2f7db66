/* The first and only program of a guest: powers off, or says so and rests. */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(int count, char **words)
{
	if (count > 1 && !strcmp(words[1], "rest")) {
		int console;

		mount("none", "/dev", "devtmpfs", 0, 0);
		console = open("/dev/console", O_WRONLY);
		if (write(console, "up\n", 3) != 3)
			reboot(RB_POWER_OFF);
		for (;;)
			pause();
	}
	reboot(RB_POWER_OFF);
	return 1;
}
