package creation

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"kairos"
)

func timed(e *kairos.Experiment, window time.Duration) kairos.CampaignSpec {
	return kairos.CampaignSpec{
		Name: "x", Template: kairos.NewID(), Audience: kairos.Audience{All: true}, Experiment: e,
		Schedule: kairos.Schedule{Mode: kairos.ModeOptimised, Window: kairos.Duration(window)},
	}
}

// No experiment leaves the shares to planning, an empty one asks for none:
// checking and storing keep them apart.
func TestNoExperimentIsNotAnEmptyOne(t *testing.T) {
	for _, want := range []*kairos.Experiment{nil, {}, {Holdout: .1, Control: .2, Explore: .7}} {
		s := timed(want, 0)
		require.NoError(t, checkSpec(&s, time.Now()))
		raw, err := json.Marshal(s)
		require.NoError(t, err)
		kept, err := kairos.ParseSpec(raw)
		require.NoError(t, err)
		require.Equal(t, want, kept.Experiment)
	}
}

func TestSharesAreShares(t *testing.T) {
	for field, e := range map[string]kairos.Experiment{
		"experiment.holdout": {Holdout: math.NaN()},
		"experiment.control": {Control: -1e-9},
		"experiment.explore": {Explore: 1.1},
		"experiment":         {Holdout: .4, Control: .4, Explore: .3},
	} {
		s := timed(&e, 0)
		err := checkSpec(&s, time.Now())
		require.ErrorIs(t, err, kairos.ErrInvalid, field)
		require.ErrorContains(t, err, field+" ")
	}
}

// A window in which no hour of the day fits is refused at the door.
func TestWindowShorterThanAnHourIsRefused(t *testing.T) {
	for _, w := range []time.Duration{time.Second, 59 * time.Minute} {
		s := timed(nil, w)
		require.ErrorContains(t, checkSpec(&s, time.Now()), "schedule.window must be at least 1h in mode optimised")
	}
	s := timed(nil, time.Hour)
	require.NoError(t, checkSpec(&s, time.Now()))
}
