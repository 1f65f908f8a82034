package main

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"kairos/internal/rig"
)

// outage plays clicks for as long as Postgres is away and a third more; part
// happens in its middle.
func (t *trial) outage(env []string, collectors func() []string, part func()) {
	rate, away := pick(t, 300, 5000), pick(t, 4*time.Second, 30*time.Second)
	people := rate * int(away/time.Second) * 4 / 3 / 3 * 10 / 11
	hits := t.crowd(people, env...)
	bases := collectors()
	t.proves(len(bases) > 0, "no collector")
	done := make(chan struct{})
	var failed error
	go func() {
		defer close(done)
		time.Sleep(away / 6)
		failed = t.stack.Postgres.Stop(true)
		time.Sleep(away / 2)
		if part != nil {
			part()
		}
		time.Sleep(away / 2)
		if err := t.stack.Postgres.Start(t.ctx); err != nil {
			failed = err
		}
	}()
	t.fault("Postgres is away for %s under %d hits a second", away, rate)
	t.follow(hits, rate, collectors)
	<-done
	t.check(failed)
	t.pool.Reset()
	t.logged(hits, 0, 0)
}

// clicksPostgresDown: every click is redirected and every payment taken while
// Postgres is away, and afterwards each of them is in the log, once.
func clicksPostgresDown(t *trial) {
	var base []string
	t.outage(nil, func() []string {
		if base == nil {
			base = []string{t.serve("track").URL}
		}
		return base
	}, nil)
}

// clicksCollectorKilled: of two collectors one is killed while Postgres is
// away. Its spool is shipped when it is started again.
func clicksCollectorKilled(t *trial) {
	var mu sync.Mutex
	var procs []*rig.Process
	spool := ""
	collectors := func() (urls []string) {
		mu.Lock()
		defer mu.Unlock()
		if procs == nil {
			spool = filepath.Join(t.dir, "victims-spool")
			procs = []*rig.Process{t.serve("track", "KAIROS_SPOOL_DIR="+spool), t.serve("track")}
		}
		for _, p := range procs {
			urls = append(urls, p.URL)
		}
		return urls
	}
	var killed error
	t.outage(nil, collectors, func() {
		mu.Lock()
		victim := procs[0]
		procs = procs[1:]
		mu.Unlock()
		killed = victim.Kill()
		t.fault("kill -9 of a collector with Postgres away")
		// A binary refuses to start without Postgres: its successor comes when that is back.
		t.watching.Go(func() {
			for t.ctx.Err() == nil {
				if _, err := t.launch(t.binary, "track", "KAIROS_SPOOL_DIR="+spool); err == nil {
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
		})
	})
	t.check(killed)
}

// clicksDiskFull: the spool's disk takes nothing for a while. Redirects go on
// and are counted as dropped; a payment is refused, never lost.
func clicksDiskFull(t *trial) {
	dir, err := os.MkdirTemp(t.suite.dir, "disk-")
	t.check(err)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.skip("a small file system of its own needs root: mount tmpfs: %v", err)
	}
	t.closing(func() error { return syscall.Unmount(dir, 0) })
	rate, full := pick(t, 300, 5000), pick(t, 3*time.Second, 20*time.Second)
	hits := t.crowd(rate * int(full/time.Second) * 2 / 3)
	p := t.serve("track", "KAIROS_SPOOL_DIR="+filepath.Join(dir, "spool"))
	ballast := filepath.Join(dir, "ballast")
	filled := make(chan error, 1)
	go func() {
		time.Sleep(full / 2)
		f, err := os.Create(ballast)
		if err != nil {
			filled <- err
			return
		}
		for until := time.Now().Add(full); time.Now().Before(until); { // what is shipped makes room: fill that too
			if _, err := f.Write(make([]byte, 4096)); err != nil {
				time.Sleep(time.Millisecond)
			}
		}
		filled <- f.Close()
		_ = os.Remove(ballast)
	}()
	t.fault("the spool's disk is full for %s under %d hits a second", full, rate)
	t.follow(hits, rate, func() []string { return []string{p.URL} })
	t.check(<-filled)
	// A click that was answered and dropped is not acknowledged as recorded:
	// the collector says how many there were.
	dropped, refused := t.dropped(hits, p)
	t.proves(dropped+refused > 0, "the disk was never full")
	t.res.note("%d clicks were redirected and counted as dropped, %d payments were refused with 503", dropped, refused)
}

// dropped checks the hits of a disk that was full: each click is redirected,
// each payment 202 or 503, and what is missing in the log is what the
// collector counted.
func (t *trial) dropped(hits []*hit, p *rig.Process) (dropped, refused int) {
	for _, h := range hits {
		switch {
		case h.key == "" && h.status != http.StatusFound:
			t.breach("a click was answered with %d", h.status)
		case h.key != "" && h.status == http.StatusServiceUnavailable:
			refused++
		case h.key != "" && !h.acked:
			t.breach("a payment was answered with %d", h.status)
		}
	}
	dropped = int(t.metric(p.URL, "kairos_spool_dropped_total"))
	t.logged(hits, refused, dropped)
	t.res.Accepted -= dropped
	// A payment is never among what was dropped.
	paid := 0
	var keys []string
	for _, h := range hits {
		if h.key != "" && h.acked {
			paid++
			keys = append(keys, h.key)
		}
	}
	if kept := t.count(`SELECT count(*) FROM events WHERE kind = 'payment.received' AND key = ANY ($1)`, keys); kept != paid {
		t.res.Missing += paid - kept
	}
	return dropped, refused
}
