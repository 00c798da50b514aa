//go:build !unix

package main

import "syscall"

// ownGroup: this system has no process groups.
func ownGroup() *syscall.SysProcAttr { return nil }
