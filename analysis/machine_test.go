package analysis

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHumans(t *testing.T) {
	at := func(seconds float64) int64 { return int64(seconds * 1e6) }
	for name, c := range map[string]struct {
		clicks []click
		links  int
		want   []bool
	}{
		"one":                       {[]click{{At: at(5), Link: "1"}}, 3, []bool{true}},
		"all at once":               {[]click{{At: at(5), Link: "1"}, {At: at(5.1), Link: "2"}, {At: at(5.2), Link: "3"}}, 3, []bool{false, false, false}},
		"three, one by one":         {[]click{{At: at(5), Link: "1"}, {At: at(9), Link: "2"}, {At: at(20), Link: "3"}}, 3, []bool{true, true, true}},
		"both of two":               {[]click{{At: at(5), Link: "1"}, {At: at(5.1), Link: "2"}}, 2, []bool{false, false}},
		"one link, again and again": {[]click{{At: at(5), Link: "1"}, {At: at(5.1), Link: "1"}, {At: at(5.2), Link: "1"}}, 3, []bool{true, true, true}},
		"a person after a scanner that gave its name": {[]click{
			{At: at(5), Link: "1", Flagged: true}, {At: at(5), Link: "2", Flagged: true}, {At: at(5), Link: "3", Flagged: true}, {At: at(6.5), Link: "2"},
		}, 3, []bool{false, false, false, true}},
	} {
		f := &facts{Clicks: c.clicks, Links: c.links}
		require.Equal(t, c.want, f.humans(time.Second, 2*time.Second), name)
	}
}
