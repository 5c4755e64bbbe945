//go:build !linux

package process

import (
	"errors"
	"syscall"
)

func supported() error                { return errors.New("children are tied to this program on Linux only") }
func bound() *syscall.SysProcAttr     { return nil }
func signalGroup(int, syscall.Signal) {}
func awaitExit(int)                   {}
