package api

import (
	"context"
	"fmt"
	"net/http"

	"kairos/analysis/timing"
)

var (
	modelReaders  = []string{ScopeReports, ScopeModels}
	modelDeciders = []string{ScopeModels}
)

// ByVersion is the input of calls on one model.
type ByVersion struct {
	Version int `path:"v" minimum:"1" maximum:"2147483647" doc:"The model's version."`
}

// TrainInput is the body of POST /v1/dto/models.
type TrainInput struct {
	By     string `json:"by,omitempty" maxLength:"200" doc:"Who asks; default: the name of the API key."`
	Reason string `json:"reason,omitempty" maxLength:"1000" doc:"Why; default: requested through the API."`
}

// DecisionInput is the body of promote, reject and rollback.
type DecisionInput struct {
	By     string `json:"by" minLength:"1" maxLength:"200" doc:"The person who decides. It is kept with the model for good."`
	Reason string `json:"reason" minLength:"1" maxLength:"1000" doc:"Why, in words that still make sense next year."`
}

func (a *server) models() {
	handle(a, call{method: http.MethodGet, path: "/v1/dto/standing", id: "get-timing-standing", tag: "Timing models",
		summary: "Get where timing stands", about: "What the log says about the hour of delivery so far, which model plans, which is on trial, and what is still needed.", scopes: modelReaders},
		func(ctx context.Context, _ *struct{}) (*body[Standing], error) {
			s, err := a.opts.Timing.Standing(ctx)
			return answer(Standing{s}, err)
		})
	handle(a, call{method: http.MethodGet, path: "/v1/dto/models", id: "list-models", tag: "Timing models",
		summary: "List timing models", about: "The newest first, training runs and failed ones among them. Curves, clusters, trial and decisions are in the single model.", scopes: modelReaders},
		func(ctx context.Context, in *struct{ Page }) (*listOutput[Model], error) {
			ms, next, err := a.opts.Timing.Models(ctx, in.Limit, in.After)
			if err != nil {
				return nil, err
			}
			return newList(ms, next, modelOf), nil
		})
	handle(a, call{method: http.MethodPost, path: "/v1/dto/models", id: "train-model", tag: "Timing models", status: 202,
		summary: "Train a timing model", about: "Fits a model to a snapshot of the log as it stands and gives a verdict. It runs in the background: follow it by its version until the state is no longer `training`. " +
			"It changes nothing by itself: a model with a verdict of `global` or `clusters` goes on trial, and a person promotes it. A run that fails leaves the active model in place. " +
			"While another runs, it is 409. Training happens weekly anyway; each run spends a part of the error rate, so looking often makes later verdicts harder, never wrong.", scopes: modelDeciders},
		func(ctx context.Context, in *struct{ Body *TrainInput }) (*body[Model], error) {
			by := timing.By{Name: visitOf(ctx).caller.Name, Reason: "requested through the API"}
			if in.Body != nil && in.Body.By != "" {
				by.Name = in.Body.By
			}
			if in.Body != nil && in.Body.Reason != "" {
				by.Reason = in.Body.Reason
			}
			m, err := a.opts.Timing.Request(ctx, by)
			return answer(modelOf(&m), err)
		})
	a.oneModel()
	a.decision("promote", "Promote a timing model", "Makes a model that passed its trial the active one; the one before it retires. The person and the reason are kept. "+
		"409 says what is missing: a verdict, a trial, its pass.", a.opts.Timing.Promote)
	a.decision("reject", "Reject a timing model", "Ends a candidate or a trial for good. Any other state is 409.", a.opts.Timing.Reject)
	a.decision("rollback", "Roll a timing model back", "Takes the active model out of service at once; the one that was active before it, if any, is active again, otherwise the baseline time holds. "+
		"Messages that are planned already keep their moment. A model that is not active is 409.", a.opts.Timing.Rollback)
}

// decision registers what a person decides about a model.
func (a *server) decision(name, summary, about string, do func(context.Context, int, timing.By) (timing.Model, error)) {
	handle(a, call{method: http.MethodPost, path: "/v1/dto/models/{v}/" + name, id: name + "-model", tag: "Timing models",
		summary: summary, about: about, scopes: modelDeciders},
		func(ctx context.Context, in *struct {
			ByVersion
			Body DecisionInput
		}) (*body[Model], error) {
			m, err := do(ctx, in.Version, timing.By{Name: in.Body.By, Reason: in.Body.Reason})
			return answer(modelOf(&m), err)
		})
}

func (a *server) oneModel() {
	const path = "/v1/dto/models/{v}"
	handle(a, call{method: http.MethodGet, path: path, id: "get-model", tag: "Timing models",
		summary: "Get a timing model", about: "Verdict, tests, what it was trained on, everybody's curve and each kind of people with rhythm, response curve, band, size and best hour, the trial, the lift it brought, the watch for drift, and who decided what. " +
			"As a table (`?format=csv`, `?format=parquet`): one line for each cluster and local hour.", scopes: modelReaders},
		func(ctx context.Context, in *struct {
			ByVersion
			ReportForm
		}) (*reportOutput, error) {
			m, err := a.opts.Timing.Model(ctx, in.Version)
			if err != nil {
				return nil, err
			}
			return in.write(fmt.Sprintf("model-%d", in.Version), modelOf(&m), rowsOf(modelRows(&m)))
		})
	documentTable[Model](a, path)
}

// modelRow is a kind of people at a local hour.
type modelRow struct {
	Version int64    `parquet:"version"`
	Cluster int64    `parquet:"cluster"`
	Size    int64    `parquet:"size"`
	Hour    int64    `parquet:"hour"`
	Rhythm  *float64 `parquet:"rhythm"`
	Curve   *float64 `parquet:"curve"`
	Low     *float64 `parquet:"low"`
	High    *float64 `parquet:"high"`
}

func modelRows(m *timing.Model) (all []modelRow) {
	at := func(values []float64, hour int) *float64 {
		if hour >= len(values) {
			return nil
		}
		return &values[hour]
	}
	for _, c := range m.Clusters {
		for h := range max(len(c.Rhythm), len(c.Curve)) {
			all = append(all, modelRow{int64(m.Version), int64(c.Cluster), int64(c.Size), int64(h),
				at(c.Rhythm, h), at(c.Curve, h), at(c.Low, h), at(c.High, h)})
		}
	}
	return all
}
