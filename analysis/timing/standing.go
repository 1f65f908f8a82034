package timing

import (
	"context"
	"fmt"
	"time"

	"kairos/dto"
)

// Standing tells where timing stands.
func (r *Registry) Standing(ctx context.Context) (Standing, error) {
	s := Standing{Verdict: dto.NotEnoughData}
	if err := r.pool.QueryRow(ctx, `SELECT exposures, responses FROM timing_state`).Scan(&s.Exposures, &s.Responses); err != nil {
		return s, fmt.Errorf("report standing: %w", err)
	}
	needed := dto.NeededResponses(smallestEffect)
	s.Explore = dto.Exploration(float64(s.Responses), needed)
	found, err := records(ctx, r.pool, `
		WHERE state IN ('training', 'canary', 'active')
		   OR version = (SELECT max(version) FROM timing_models WHERE trained_at IS NOT NULL) ORDER BY version`)
	if err != nil {
		return s, fmt.Errorf("report standing: %w", err)
	}
	var newest, speaking *record
	for _, m := range found {
		m.finish(r)
		v := m.Version
		switch m.State {
		case Training:
			s.Training = &v
			continue
		case OnTrial:
			s.Canary = &v
		case Active:
			s.Active = &v
		}
		newest = m
		if speaking == nil || m.State == OnTrial || speaking.State != OnTrial && m.State == Active {
			speaking = m
		}
	}
	d := dto.Decide(dto.Test{P: 1}, dto.Test{P: 1}, float64(s.Exposures), float64(s.Responses), dto.VerdictOptions{})
	switch {
	case newest == nil:
		s.Needed = neededFor(d, float64(s.Responses))
		s.Headline, s.Next = tooEarly(s.Exposures, s.Responses), stillNeeded(s.Needed)
	default:
		s.Verdict = newest.Verdict
		if speaking.State != OnTrial && speaking.State != Active {
			speaking = newest
		}
		s.Headline, s.Next, s.Needed = speaking.Headline, speaking.Next, newest.Needed
	}
	s.TrainAt, err = r.standingTrainAt(ctx)
	return s, err
}

func (r *Registry) standingTrainAt(ctx context.Context) (*time.Time, error) {
	_, all, err := r.look(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.state == Training || m.state == OnTrial || m.state == Candidate {
			return nil, nil
		}
	}
	return r.trainAt(ctx, all)
}
