package analysis

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func TestMachineClicks(t *testing.T) {
	t.Parallel()
	type at struct {
		after time.Duration
		link  int
	}
	ms := time.Millisecond
	for name, c := range map[string]struct {
		links  int // in the message; 0: unknown
		clicks []at
		human  int
	}{
		"one":                            {3, []at{{hour, 1}}, 1},
		"three links within two seconds": {3, []at{{hour, 1}, {hour + 500*ms, 2}, {hour + 2000*ms, 3}}, 0},
		"three links, a little slower":   {3, []at{{hour, 1}, {hour + 500*ms, 2}, {hour + 2001*ms, 3}}, 3},
		"one link thrice":                {3, []at{{hour, 1}, {hour + 500*ms, 1}, {hour + 900*ms, 1}}, 3},
		"two of three":                   {3, []at{{hour, 1}, {hour + 500*ms, 2}}, 2},
		"both of two":                    {2, []at{{hour, 1}, {hour + 500*ms, 2}}, 0},
		"both of two, later":             {2, []at{{hour, 1}, {hour + 5*time.Second, 2}}, 2},
		"two of nobody knows":            {0, []at{{hour, 1}, {hour + 500*ms, 2}}, 2},
		"a person after the scanner":     {3, []at{{hour, 1}, {hour, 2}, {hour, 3}, {2 * hour, 1}}, 1},
		"a person in the burst's end":    {3, []at{{hour, 1}, {hour + 1000*ms, 2}, {hour + 1900*ms, 3}, {hour + 3500*ms, 2}}, 1},
		"at once":                        {1, []at{{minute + 999*ms, 1}}, 0},
		"just before the answer":         {1, []at{{minute - 500*ms, 1}}, 0},
		"after a second":                 {1, []at{{minute + 1000*ms, 1}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			m := msg{id: kairos.NewID()}
			events := []kairos.Event{m.on(kairos.NotificationAccepted, minute, "links", c.links)}
			for _, k := range c.clicks {
				events = append(events, m.on(kairos.NotificationClicked, k.after, "link", k.link))
			}
			permute(events, func(order []kairos.Event) {
				var f facts
				for i := range order {
					f.add(&order[i], nil)
				}
				v := f.read(&rules{fast: time.Second, burst: 2 * time.Second})
				require.Len(t, v.clicks, c.human)
			})
		})
	}
}

// More opens and clicks than are kept one by one are counted all the same, and
// alike in every order.
func TestManyTouches(t *testing.T) {
	t.Parallel()
	m := msg{id: kairos.NewID()}
	var forward, backward facts
	const n = 500
	for i := range n {
		for f, at := range map[*facts]int{&forward: i, &backward: n - 1 - i} {
			data := []any{"link", fmt.Sprint(at % 2)}
			if at%10 == 0 {
				data = append(data, "machine", "head")
			}
			e := m.on(kairos.NotificationClicked, time.Duration(at)*minute, data...)
			f.add(&e, nil)
			e = m.on(kairos.NotificationOpened, time.Duration(at)*minute)
			f.add(&e, nil)
		}
	}
	require.Equal(t, forward, backward)
	require.Len(t, forward.Clicks, keep)
	v := forward.read(&rules{fast: time.Second, burst: 2 * time.Second})
	counts := map[string]count{}
	for i, step := range countedSteps() {
		counts[step] = v.counts[i]
	}
	require.Equal(t, count{1, n}, counts[StepOpened])
	require.Equal(t, count{1, n * 9 / 10}, counts[StepClicked])
	require.Equal(t, count{1, n / 10}, counts[StepMachineClicked])
}
