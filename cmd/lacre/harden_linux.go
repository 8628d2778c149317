package main

import "golang.org/x/sys/unix"

// harden keeps private keys in memory out of core dumps and away from debuggers of
// other processes.
func harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
