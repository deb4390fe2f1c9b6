/* A line on the terminal that a signal must not leave there. */
#ifndef PROCMEM_TERMINAL_H
#define PROCMEM_TERMINAL_H

/* From now on SIGTERM, SIGHUP and SIGQUIT clear the line of this terminal before they end the
 * process as they would without. Those that are handled or ignored are left alone. Below 0: no
 * longer. */
void pm_clear_at_end(int fd);

#endif
