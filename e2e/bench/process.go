package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// process is a server under measurement.
type process struct {
	cmd   *exec.Cmd
	conns []*grpc.ClientConn
	log   bytes.Buffer
}

// start runs argv, whose server will listen at address, and opens connections to
// it, as many as Envoy has workers.
func start(ctx context.Context, argv, env []string, address string, connections int) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, argv[0], argv[1:]...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	for range connections {
		conn, err := dial(address)
		if err != nil {
			p.stop()
			return nil, fmt.Errorf("dial %s: %w", address, err)
		}
		p.conns = append(p.conns, conn)
	}
	return p, nil
}

// stop ends the process and waits for it. What it was doing is of no interest.
func (p *process) stop() {
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// sleep stops the process until wake, so that what it does by itself, such as
// asking hundreds of model servers for their load, is not in another one's way.
func (p *process) sleep() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) wake() error  { return p.cmd.Process.Signal(syscall.SIGCONT) }

// cpu returns the CPU time of all the process's threads since it began, user and
// system, to the nanosecond: the clock of clock_getcpuclockid(3).
func (p *process) cpu() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid)<<3|scheduled, &t); err != nil {
		return 0, fmt.Errorf("read CPU clock of process %d: %w", p.cmd.Process.Pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// peakMemory returns the largest resident size since the process began, in bytes.
func (p *process) peakMemory() (int64, error) {
	path := fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)
	status, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("read %s: no VmHWM", path)
}

// freePorts returns n ports of 127.0.0.1 that were free a moment ago.
func freePorts(n int) ([]string, error) {
	ports := make([]string, n)
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		_, ports[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return ports, nil
}
