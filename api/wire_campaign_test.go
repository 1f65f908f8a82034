package api

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"kairos"
)

// An experiment that isn't given, one that divides nobody and one with shares
// are three things, on the way in, in the store and on the way out.
func TestExperimentsKeepWhatWasAsked(t *testing.T) {
	for body, want := range map[string]*kairos.Experiment{
		`{"name":"x"}`:                                nil,
		`{"name":"x","experiment":null}`:              nil,
		`{"name":"x","experiment":{}}`:                {},
		`{"name":"x","experiment":{"explore":0.25}}`:  {Explore: .25},
		`{"name":"x","experiment":{"holdout":1}}`:     {Holdout: 1},
		`{"name":"x","experiment":{"control":0.125}}`: {Control: .125},
	} {
		var in CampaignSpec
		require.NoError(t, json.Unmarshal([]byte(body), &in), body)
		spec := in.spec()
		require.Equal(t, want, spec.Experiment, body)
		raw, err := json.Marshal(spec)
		require.NoError(t, err)
		kept, err := kairos.ParseSpec(raw)
		require.NoError(t, err)
		require.Equal(t, want, kept.Experiment, body)
		out := specOf(&kept)
		require.Equal(t, want == nil, out.Experiment == nil, body)
		if want != nil {
			require.Equal(t, Experiment{want.Holdout, want.Control, want.Explore}, *out.Experiment, body)
		}
	}
}

func TestPatchReplacesAnExperimentWhole(t *testing.T) {
	s := CampaignSpec{Experiment: &Experiment{Holdout: .1, Control: .2, Explore: .3}}
	(&CampaignPatch{}).apply(&s)
	require.Equal(t, &Experiment{.1, .2, .3}, s.Experiment)
	(&CampaignPatch{Experiment: &Experiment{Explore: .5}}).apply(&s)
	require.Equal(t, &Experiment{Explore: .5}, s.Experiment)
	(&CampaignPatch{Experiment: &Experiment{}}).apply(&s)
	require.Equal(t, &Experiment{}, s.Experiment)
}
