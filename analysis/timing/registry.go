package timing

import (
	"context"

	"kairos"
)

// TrainTask asks for a training run.
type TrainTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (TrainTask) Kind() string { return kairos.KindTrain }

// ScoreTask asks for people's hours to be computed anew under one model.
type ScoreTask struct{ kairos.Ref }

// Kind implements kairos.Task.
func (ScoreTask) Kind() string { return kairos.KindScore }

// Request asks for a training; it runs in the background. Errors:
// ErrInvalid (no name), ErrConflict (one is running).
func (r *Registry) Request(ctx context.Context, by By) (Model, error) {
	return Model{}, kairos.ErrUnavailable
}

// Train fits a model on a snapshot of the log as it stands.
func (r *Registry) Train(ctx context.Context, task TrainTask) ([]kairos.Task, error) {
	return nil, kairos.ErrUnavailable
}

// Score computes everybody's hours under one model, in bulk.
func (r *Registry) Score(ctx context.Context, task ScoreTask) ([]kairos.Task, error) {
	return nil, kairos.ErrUnavailable
}

// Watch does what is due: exposures mature, trials are judged, the active
// model is scored daily and watched for drift, the next training is planned.
// Cheap when nothing is due; made for being called every second.
func (r *Registry) Watch(ctx context.Context) error { return nil }

// Models lists the registry, newest first, without pictures. next is "" at the end.
func (r *Registry) Models(ctx context.Context, limit int, after string) (models []Model, next string, err error) {
	return nil, "", kairos.ErrUnavailable
}

// Model returns one version with everything; kairos.ErrNotFound.
func (r *Registry) Model(ctx context.Context, version int) (Model, error) {
	return Model{}, kairos.ErrUnavailable
}

// Standing tells where timing stands.
func (r *Registry) Standing(ctx context.Context) (Standing, error) {
	return Standing{}, kairos.ErrUnavailable
}

// Promote makes a model that passed its trial the active one. ErrConflict says
// what is missing: a verdict, a trial, its pass.
func (r *Registry) Promote(ctx context.Context, version int, by By) (Model, error) {
	return Model{}, kairos.ErrUnavailable
}

// Reject ends a candidate or a trial.
func (r *Registry) Reject(ctx context.Context, version int, by By) (Model, error) {
	return Model{}, kairos.ErrUnavailable
}

// Rollback takes the active model out of service; the one that was active
// before it, if any, is active again.
func (r *Registry) Rollback(ctx context.Context, version int, by By) (Model, error) {
	return Model{}, kairos.ErrUnavailable
}
