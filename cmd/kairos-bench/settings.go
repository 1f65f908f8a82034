package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// settings are Postgres': those asked for, those that profiles need, and for its
// buffers a quarter of the memory, as its manual advises for a server of its
// own (PostgreSQL 15, 20.4.1). Its default of 128 MB would have it read its own
// tables from the kernel again and again.
func (b *bench) settings() map[string]string {
	all := map[string]string{}
	if mb := memory() / 4; mb > 128 && !b.inMemory {
		all["shared_buffers"] = fmt.Sprintf("%dMB", min(mb, 8<<10))
	}
	if b.Profile != "" {
		maps.Copy(all, statistics)
	}
	maps.Copy(all, b.Postgres)
	return all
}

// memory returns the machine's in megabytes, 0 where it isn't known.
func memory() int {
	_, rest, _ := strings.Cut(read("/proc/meminfo"), "MemTotal:")
	kb, err := strconv.Atoi(first(rest))
	if err != nil {
		return 0
	}
	return kb >> 10
}

// setting lists settings as they were asked for.
func setting(all map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, name+"="+all[name])
	}
	return strings.Join(parts, ", ")
}
