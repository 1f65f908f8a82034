package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// scenario is one kind of trouble.
type scenario struct {
	name  string
	group int // of docs/reliability.md
	about string
	run   func(*trial)
}

// scenarios in the order of their groups.
var scenarios = []scenario{
	{"kill-sender", 1, "kill -9 a sender again and again; unknowns are resolved by opens", killSender},
	{"stop-sender", 2, "SIGTERM a sender again and again", stopSender},
	{"freeze-sender", 3, "SIGSTOP a sender, let others take over, SIGCONT", freezeSender},
	{"redis-flush", 4, "FLUSHALL at random moments", redisFlush},
	{"redis-down", 4, "Redis is away", redisDown},
	{"redis-old-dump", 4, "Redis comes back with what it held a while ago", redisOldDump},
	{"redis-blip", 4, "the connection breaks as a worker reports success", redisBlip},
	{"redis-memory", 4, "maxmemory is reached", redisMemory},
	{"postgres-restart", 5, "Postgres dies at once and comes back", postgresRestart},
	{"clicks-postgres-down", 6, "Postgres is away under steady clicks", clicksPostgresDown},
	{"clicks-collector-killed", 6, "the same, and a collector is killed", clicksCollectorKilled},
	{"clicks-disk-full", 6, "the spool's disk is full for a while", clicksDiskFull},
	{"power-loss", 6, "what was not synced is gone", powerLoss},
	{"provider-events", 7, "each event 46 times, shuffled, with new ids; every order of a set", providerEvents},
	{"one-key", 8, "200 POSTs at once with one idempotency key, on two processes", oneKey},
	{"pause-cancel", 9, "pause, resume, cancel in mid-campaign", pauseCancel},
	{"unsubscribe", 10, "people leave while the campaign is sent", unsubscribe},
	{"two-schedulers", 11, "several processes with every role; the leader is frozen", twoSchedulers},
	{"old-and-new", 11, "the previous release's processes beside this one's", oldAndNew},
	{"clock-jumps", 11, "the clocks of processes jump by an hour", clockJumps},
	{"daylight-saving", 11, "gaps and overlaps of every zone", daylightSaving},
	{"replay", 12, "rebuilt reports are compared with the incremental ones", replay},
}

// choose finds scenarios by name or by number of their group.
func choose(only []string) ([]scenario, error) {
	if len(only) == 0 {
		return scenarios, nil
	}
	var all []scenario
	for _, want := range only {
		group, err := strconv.Atoi(want)
		found := slices.DeleteFunc(slices.Clone(scenarios), func(s scenario) bool {
			return s.name != want && (err != nil || s.group != group)
		})
		if len(found) == 0 {
			return nil, fmt.Errorf("there is no scenario %q: %s", want, names())
		}
		all = append(all, found...)
	}
	return all, nil
}

func names() string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return strings.Join(all, ", ")
}
