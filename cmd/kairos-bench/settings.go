package main

import (
	"maps"
	"slices"
	"strings"
)

// settings are Postgres': those that profiles need and those asked for.
func (b *bench) settings() map[string]string {
	all := map[string]string{}
	if b.Profile != "" {
		maps.Copy(all, statistics)
	}
	maps.Copy(all, b.Postgres)
	return all
}

// setting lists settings as they were asked for.
func setting(all map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, name+"="+all[name])
	}
	return strings.Join(parts, ", ")
}
