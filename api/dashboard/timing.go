package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"kairos"
	"kairos/analysis/timing"
)

const modelsPerPage = 20

// registry is what the pages ask about delivery time; *timing.Registry.
type registry interface {
	Standing(ctx context.Context) (timing.Standing, error)
	Models(ctx context.Context, limit int, after string) (models []timing.Model, next string, err error)
	Model(ctx context.Context, version int) (timing.Model, error)
	Request(ctx context.Context, by timing.By) (timing.Model, error)
	Promote(ctx context.Context, version int, by timing.By) (timing.Model, error)
	Reject(ctx context.Context, version int, by timing.By) (timing.Model, error)
	Rollback(ctx context.Context, version int, by timing.By) (timing.Model, error)
}

// timingView is where timing stands, with a page of the registry.
type timingView struct {
	timing.Standing
	active  *timing.Model // nil: none plans
	trial   *timing.Model
	rows    []timing.Model
	next    string
	first   bool
	here    string
	decides bool // whoever looks may ask for a training
	form    decision
}

// fresh reports whether nothing was ever explored or trained.
func (v timingView) fresh() bool { return v.Exposures == 0 && len(v.rows) == 0 && v.first }

// live reports whether something is going on that is worth following.
func (v timingView) live() bool { return v.Training != nil || v.Canary != nil }

func (v timingView) link(after string) string {
	if after == "" {
		return "/dashboard/timing"
	}
	return "/dashboard/timing?" + url.Values{"after": {after}}.Encode()
}

// timingRoutes are there when there is a registry.
func (d *dashboard) timingRoutes(m *http.ServeMux) {
	m.HandleFunc("GET /dashboard/timing", d.page(func(r *http.Request) (content, error) {
		return d.timingFront(r, decision{})
	}))
	m.HandleFunc("GET /dashboard/timing/{version}", d.page(func(r *http.Request) (content, error) {
		return d.timingModel(r, decision{})
	}))
	m.HandleFunc("POST /dashboard/timing/train", d.train)
	for _, s := range decisionSteps {
		m.HandleFunc("POST /dashboard/timing/{version}/"+s.name, d.decide(s))
	}
}

func (d *dashboard) timingFront(r *http.Request, form decision) (content, error) {
	ctx, after := r.Context(), r.URL.Query().Get("after")
	v := timingView{first: after == "", decides: d.decides(r), form: form}
	v.here = v.link(after)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		v.Standing, err = d.standings.get(ctx, "", d.opts.Pace/2, d.registry.Standing)
		if err != nil {
			return err
		}
		if v.active, err = d.modelAt(ctx, v.Standing.Active); err != nil {
			return err
		}
		v.trial, err = d.modelAt(ctx, v.Standing.Canary)
		return err
	})
	group.Go(func() (err error) {
		v.rows, v.next, err = d.registry.Models(ctx, modelsPerPage, after)
		if err != nil {
			return err
		}
		return d.addLifts(ctx, v.rows)
	})
	if err := group.Wait(); err != nil {
		return content{}, err
	}
	return content{title: "Timing", section: "timing", body: timingPage(v)}, nil
}

// modelAt returns a version that is there, nil where none is named.
func (d *dashboard) modelAt(ctx context.Context, version *int) (*timing.Model, error) {
	if version == nil {
		return nil, nil
	}
	m, err := d.modelOf(ctx, *version)
	if errors.Is(err, kairos.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// modelOf is a version with everything, asked for once for many viewers.
func (d *dashboard) modelOf(ctx context.Context, version int) (timing.Model, error) {
	return d.versions.get(ctx, strconv.Itoa(version), d.opts.Pace/2, func(ctx context.Context) (timing.Model, error) {
		return d.registry.Model(ctx, version)
	})
}

// addLifts looks up what models that were in use brought: lists leave it out.
func (d *dashboard) addLifts(ctx context.Context, rows []timing.Model) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for i := range rows {
		m := &rows[i]
		if m.ActiveAt == nil || m.Lift != nil {
			continue
		}
		group.Go(func() error {
			full, err := d.modelOf(ctx, m.Version)
			m.Lift = full.Lift
			return err
		})
	}
	return group.Wait()
}

// modelView is one version of the registry.
type modelView struct {
	timing.Model
	decides bool
	form    decision
	steps   []decisionStep
}

// live reports whether the page still changes by itself.
func (v modelView) live() bool {
	return v.State == timing.Training || v.State == timing.OnTrial && (v.Canary == nil || !v.Canary.Done)
}

func (v modelView) path() string { return modelPath(v.Version) }

func modelPath(version int) string { return "/dashboard/timing/" + strconv.Itoa(version) }

func (d *dashboard) timingModel(r *http.Request, form decision) (content, error) {
	version, err := versionOf(r)
	if err != nil {
		return content{}, err
	}
	v := modelView{decides: d.decides(r), form: form}
	if v.Model, err = d.modelOf(r.Context(), version); err != nil {
		return content{}, err
	}
	v.steps = stepsFor(v.Model)
	return content{title: "Model " + strconv.Itoa(version), section: "timing", body: modelPage(v)}, nil
}

// versionOf reads the version in the path. What is no number names nothing.
func versionOf(r *http.Request) (int, error) {
	s := r.PathValue("version")
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 || strings.HasPrefix(s, "+") {
		return 0, fmt.Errorf("read version: %w", kairos.ErrNotFound)
	}
	return int(n), nil
}

// decides reports whether whoever is signed in may decide about models.
func (d *dashboard) decides(r *http.Request) bool {
	if d.opts.Authenticate == nil {
		return true
	}
	who, ok := d.sessions.who(r, time.Now())
	return ok && who.Decides
}
