package api

import (
	"reflect"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"kairos/analysis/timing"
)

// Model is a timing.Model on the wire: its own encoding, with empty lists
// where it holds none. TimingModel documents it.
type Model struct{ timing.Model }

// Schema implements huma.SchemaProvider.
func (Model) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[TimingModel](), true, "")
}

func modelOf(m *timing.Model) Model {
	out := *m
	filled(&out.Curve)
	filled(&out.Rhythm)
	filled(&out.Clusters)
	filled(&out.Arms)
	filled(&out.Decisions)
	if m.Data != nil {
		data := *m.Data
		filled(&data.Slots)
		out.Data = &data
	}
	if m.Drift != nil {
		drift := *m.Drift
		filled(&drift.Diary)
		out.Drift = &drift
	}
	out.Clusters = slices.Clone(out.Clusters)
	for i := range out.Clusters {
		c := &out.Clusters[i]
		filled(&c.Rhythm)
		filled(&c.Curve)
		filled(&c.Low)
		filled(&c.High)
	}
	return Model{out}
}

// filled makes a list that is not there an empty one.
func filled[T any](s *[]T) {
	if *s == nil {
		*s = []T{}
	}
}

// Standing is a timing.Standing on the wire; TimingStanding documents it.
type Standing struct{ timing.Standing }

// Schema implements huma.SchemaProvider.
func (Standing) Schema(r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[TimingStanding](), true, "")
}

// TimingModel is a version in the registry of timing models.
type TimingModel struct {
	Version   int        `json:"version" doc:"Its number; training runs that failed have one too."`
	State     string     `json:"state" enum:"training,failed,candidate,canary,active,retired,rejected" doc:"training: the run has not ended. failed: it ended with an error and changed nothing. candidate: waits for a trial. canary: on trial. active: plans the optimised arm. retired: was active. rejected: will never be."`
	Verdict   string     `json:"verdict" enum:",not_enough_data,null,global,clusters" doc:"not_enough_data: too little exploration to say. null: the hour makes no difference that matters. global: one hour is best for everybody. clusters: people differ. Empty until it is trained."`
	Headline  string     `json:"headline" doc:"The verdict in a sentence."`
	Next      string     `json:"next" doc:"What happens next, or what to do."`
	Reason    string     `json:"reason" doc:"Why the state is what it is."`
	Parent    *int       `json:"parent" doc:"The version that was active when it was trained."`
	Error     string     `json:"error,omitempty" doc:"Why the run failed."`
	CreatedAt time.Time  `json:"created_at"`
	TrainedAt *time.Time `json:"trained_at"`
	ActiveAt  *time.Time `json:"active_at"`
	EndedAt   *time.Time `json:"ended_at" doc:"Retired, rejected or failed."`
	ScoredAt  *time.Time `json:"scored_at" doc:"When people's hours were last computed."`
	Code      string     `json:"code" doc:"The version of the program that trained it."`
	Seed      uint64     `json:"seed" doc:"With the same seed the same snapshot gives the same model, bit for bit."`

	Data   *ModelSnapshot `json:"data" doc:"What it was trained on; null until it is trained."`
	Tests  *ModelTests    `json:"tests" doc:"Null until it is trained."`
	Needed *ModelNeeded   `json:"needed" doc:"What exploration still lacks for a verdict of null; null: nothing."`

	Curve      []float64        `json:"curve" doc:"Everybody's response by local hour, relative to the mean: 24 values. Empty in lists, as is all that follows."`
	Rhythm     []float64        `json:"rhythm" doc:"Everybody's share of activity by local hour: 24 values."`
	Clusters   []ModelCluster   `json:"clusters" doc:"The kinds of people; one where they are not told apart."`
	Parameters *ModelParameters `json:"parameters"`
	OffPolicy  *ModelOffPolicy  `json:"off_policy" doc:"What policies would have brought, estimated from exploration: a check, never a gate."`
	Canary     *ModelCanary     `json:"canary" doc:"The trial; null: never on trial."`
	Arms       []ModelArm       `json:"arms" doc:"Of campaigns planned while it was active."`
	Lift       *ModelLift       `json:"lift" doc:"Of optimised and preferred together over control in those campaigns; null: nothing to compare."`
	LiftNeeded *int64           `json:"lift_needed" doc:"Messages that the smaller of the two lacks to show the lift; null: enough, or nothing can be said."`
	SRM        *ModelSRM        `json:"srm" doc:"Sample ratio mismatch: whether the arms have the sizes that were meant; null: nothing was drawn by lot."`
	Drift      *ModelDrift      `json:"drift" doc:"What the watch over the active model saw; null: never active."`
	Decisions  []ModelDecision  `json:"decisions" doc:"Who did what to it and why, in order."`
}

// ModelSnapshot is what a model was trained on.
type ModelSnapshot struct {
	_              struct{}  `nullable:"true"`
	From           time.Time `json:"from" doc:"Of sending."`
	Until          time.Time `json:"until"`
	ResponseWindow string    `json:"response_window" doc:"How long after sending a click counts: 24h, 90m."`
	Slots          []int     `json:"slots" doc:"Local hours with exploration."`
	People         int       `json:"people" doc:"With activity, a preference or exploration."`
	Deliveries     int64     `json:"deliveries" doc:"Exploration deliveries that count."`
	Responses      int64     `json:"responses" doc:"To them."`
	Comparing      int64     `json:"comparing" doc:"What the responses are worth for comparing hours within people: less than responses where people were tried at few hours."`
	DroppedOverlap int64     `json:"dropped_overlap" doc:"Left out: another message to the person lay within the response window."`
	DroppedLate    int64     `json:"dropped_late" doc:"Left out: sent more than an hour after the hour that was drawn."`
	WithPreference int       `json:"with_preference" doc:"People whose preferred hours count as ten events of activity."`
	Fingerprint    string    `json:"fingerprint" doc:"SHA-256 of the snapshot."`
}

// ModelTest is a significance test.
type ModelTest struct {
	Statistic float64 `json:"statistic" doc:"Chi-square, or z where df is 0."`
	DF        int     `json:"df" doc:"Degrees of freedom."`
	P         float64 `json:"p"`
	AdjustedP float64 `json:"adjusted_p" doc:"Holm, over the two tests."`
	People    int     `json:"people" doc:"Who carried information."`
}

// ModelTests are the two tests of a verdict.
type ModelTests struct {
	_           struct{}  `nullable:"true"`
	Main        ModelTest `json:"main" doc:"Does the hour matter to anybody? Generalised Cochran-Mantel-Haenszel, people as strata."`
	Interaction ModelTest `json:"interaction" doc:"Do people differ in their best hour? Permutation test focused on their rhythms, one-sided."`
	Look        int       `json:"look" doc:"How often the log has been looked at, this training included."`
	Alpha       float64   `json:"alpha" doc:"The error rate of this look. All looks together stay below the one of the installation."`
}

// ModelNeeded is what exploration still lacks.
type ModelNeeded struct {
	_          struct{} `nullable:"true"`
	Responses  int64    `json:"responses"`
	Deliveries int64    `json:"deliveries"`
}

// ModelCluster is a kind of people.
type ModelCluster struct {
	Cluster int       `json:"cluster" doc:"From 0."`
	Size    int       `json:"size" doc:"People, when last scored."`
	Share   float64   `json:"share" doc:"Of all."`
	Hour    int       `json:"hour" doc:"Best local hour; -1: none was explored."`
	Rhythm  []float64 `json:"rhythm" doc:"Share of activity by local hour: 24 values, sum 1."`
	Curve   []float64 `json:"curve" doc:"Response by local hour, relative to the mean: 24 values."`
	Low     []float64 `json:"low" doc:"Lower end of the 95 % band of curve."`
	High    []float64 `json:"high" doc:"Upper end."`
}

// ModelParameters are those of the fit.
type ModelParameters struct {
	_         struct{}  `nullable:"true"`
	K         int       `json:"k" doc:"Clusters."`
	C         []float64 `json:"c" minItems:"3" maxItems:"3" doc:"Weights of the cluster's response curve, the cluster's rhythm and the person's own rhythm in the score."`
	Prior     float64   `json:"prior" doc:"Events of activity that the cluster's rhythm counts for in a person's."`
	Bandwidth float64   `json:"bandwidth" doc:"Hours that a person's activity is smoothed by."`
	Kappa     float64   `json:"kappa" doc:"Responses that the common curve counts for in a cluster's."`
	Gain      float64   `json:"gain" doc:"Held-out log-likelihood over the common curve, nats; 0: nothing was better than one hour for all."`
}

// ModelEstimate is an off-policy value.
type ModelEstimate struct {
	Value   float64 `json:"value" doc:"Mean responses per delivery."`
	SE      float64 `json:"se" doc:"Standard error."`
	Low     float64 `json:"low" doc:"95 % interval."`
	High    float64 `json:"high"`
	Refused bool    `json:"refused" doc:"The effective sample is too small for a figure."`
}

// ModelPolicy holds three estimates of one policy's value.
type ModelPolicy struct {
	IPS       ModelEstimate `json:"ips" doc:"Inverse propensity scores."`
	SNIPS     ModelEstimate `json:"snips" doc:"Self-normalised."`
	DR        ModelEstimate `json:"dr" doc:"Doubly robust."`
	Effective float64       `json:"effective" doc:"Effective sample size, (sum w)^2 / sum w^2."`
	N         int           `json:"n" doc:"Exploration deliveries."`
}

// ModelOffPolicy values three policies on the same exploration.
type ModelOffPolicy struct {
	_        struct{}    `nullable:"true"`
	Model    ModelPolicy `json:"model" doc:"The model's hours."`
	Global   ModelPolicy `json:"global" doc:"Its best hour for everybody."`
	Baseline ModelPolicy `json:"baseline" doc:"A random allowed hour."`
	Current  *ModelNow   `json:"current" doc:"The model that was active at the time; null: there was none."`
}

// ModelNow is a ModelPolicy where there may be none.
type ModelNow struct {
	_ struct{} `nullable:"true"`
	ModelPolicy
}

// ModelArm is what one arm brought.
type ModelArm struct {
	Arm       string   `json:"arm"`
	N         int64    `json:"n" doc:"Messages sent."`
	Responses int64    `json:"responses"`
	Rate      *float64 `json:"rate" doc:"Null when nothing was sent."`
}

// ModelCanary is a trial.
type ModelCanary struct {
	_            struct{}   `nullable:"true"`
	Share        float64    `json:"share" doc:"Of the optimised arm."`
	Since        time.Time  `json:"since"`
	NeededPerArm int64      `json:"needed_per_arm" doc:"It is judged once, when both arms have as many."`
	ExpectedLift float64    `json:"expected_lift" doc:"The lift that the size is made to find."`
	Candidate    ModelArm   `json:"candidate"`
	Current      ModelArm   `json:"current" doc:"The active model, or the baseline time."`
	Control      ModelArm   `json:"control" doc:"Of the same campaigns."`
	Progress     float64    `json:"progress" minimum:"0" maximum:"1" doc:"Of the smaller arm."`
	Done         bool       `json:"done"`
	Pass         bool       `json:"pass"`
	Reason       string     `json:"reason"`
	Lift         *ModelLift `json:"lift" doc:"Of candidate over current."`
	JudgedAt     *time.Time `json:"judged_at"`
}

// ModelLift compares two arms.
type ModelLift struct {
	_        struct{}   `nullable:"true"`
	Estimate *float64   `json:"estimate" doc:"Ratio of the rates - 1; null when nobody responded in the second."`
	Interval *[]float64 `json:"interval" nullable:"true" doc:"Of estimate, 95 %."`
	P        float64    `json:"p" doc:"Two-sided."`
	Verdict  string     `json:"verdict" enum:"better,worse,no_detectable_difference,not_enough_data"`
}

// ModelSRM is the check of the arms' sizes.
type ModelSRM struct {
	_  struct{} `nullable:"true"`
	P  float64  `json:"p"`
	OK bool     `json:"ok" doc:"false (p below 0.001): something treats the arms differently, and no lift may be believed."`
}

// ModelStability is a population stability index.
type ModelStability struct {
	_         struct{} `nullable:"true"`
	Index     float64  `json:"index"`
	Threshold float64  `json:"threshold" doc:"Above which it rings."`
	Enough    bool     `json:"enough" doc:"Both samples are large enough."`
	Alarm     bool     `json:"alarm"`
}

// ModelDrift is what the watch over the active model saw.
type ModelDrift struct {
	_         struct{}        `nullable:"true"`
	Days      int             `json:"days"`
	Level     float64         `json:"level" doc:"Page-Hinkley's."`
	Threshold float64         `json:"threshold" doc:"Above which it rings."`
	Stability *ModelStability `json:"stability" doc:"Of people's best hours since training; null: never scored twice."`
	AlarmAt   *time.Time      `json:"alarm_at"`
	Reason    string          `json:"reason"`
	Diary     []ModelDay      `json:"diary" doc:"Oldest first, at most 90."`
}

// ModelDay is one line of the diary.
type ModelDay struct {
	Day              string   `json:"day" format:"date" doc:"UTC."`
	N                int64    `json:"n"`
	Responses        int64    `json:"responses"`
	ControlN         int64    `json:"control_n" doc:"Of control in the same campaigns."`
	ControlResponses int64    `json:"control_responses"`
	Residual         *float64 `json:"residual" doc:"Standardised; null when nothing can be said."`
	Level            float64  `json:"level"`
}

// ModelDecision is who did what, and why.
type ModelDecision struct {
	At     time.Time `json:"at"`
	Action string    `json:"action" doc:"requested, trained, failed, canary, judged, promoted, rejected, rolled_back, retired, drifted"`
	Actor  string    `json:"actor" doc:"A person's name; kairos for what follows from rules."`
	Reason string    `json:"reason"`
}

// TimingStanding is where timing stands.
type TimingStanding struct {
	Verdict   string       `json:"verdict" enum:"not_enough_data,null,global,clusters" doc:"Of the newest trained model; not_enough_data before there is one."`
	Headline  string       `json:"headline" doc:"The verdict in a sentence."`
	Next      string       `json:"next" doc:"What happens next, or what to do."`
	Active    *int         `json:"active" doc:"The version that plans."`
	Canary    *int         `json:"canary" doc:"The version on trial."`
	Training  *int         `json:"training" doc:"The version in the making."`
	Exposures int64        `json:"exposures" doc:"Exploration deliveries whose response window has passed and that count."`
	Responses int64        `json:"responses" doc:"To them."`
	Needed    *ModelNeeded `json:"needed" doc:"What exploration still lacks for a verdict of null; null: nothing."`
	Explore   float64      `json:"explore" doc:"The share of people that campaigns without an experiment of their own explore with now."`
	TrainAt   *time.Time   `json:"train_at" doc:"When it trains by itself next; null: never."`
}
