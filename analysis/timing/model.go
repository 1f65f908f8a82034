package timing

import (
	"time"

	"kairos"
	"kairos/dto"
)

// Model is a row of the registry with everything a report shows. Lists leave
// the fields from Curve on empty.
type Model struct {
	Version   int         `json:"version"`
	State     string      `json:"state"`
	Verdict   dto.Verdict `json:"verdict"`  // "" until it is trained
	Headline  string      `json:"headline"` // the verdict in a sentence that a marketer understands
	Next      string      `json:"next"`     // what happens next, or what to do
	Reason    string      `json:"reason"`   // why the state is what it is
	Parent    *int        `json:"parent"`   // active when it was trained
	Error     string      `json:"error,omitempty"`
	CreatedAt time.Time   `json:"created_at"`
	TrainedAt *time.Time  `json:"trained_at"`
	ActiveAt  *time.Time  `json:"active_at"`
	EndedAt   *time.Time  `json:"ended_at"`
	ScoredAt  *time.Time  `json:"scored_at"`
	Code      string      `json:"code"` // version of the program that trained it
	Seed      uint64      `json:"seed"`
	Data      *Snapshot   `json:"data"` // null until it is trained
	Tests     *Tests      `json:"tests"`
	Needed    *Needed     `json:"needed"` // null: enough for a verdict

	Curve      []float64   `json:"curve"`    // 24: response by local hour relative to the mean, everybody's
	Rhythm     []float64   `json:"rhythm"`   // 24: share of activity by local hour, everybody's
	Clusters   []Cluster   `json:"clusters"` // one without a cut of the people
	Parameters *Parameters `json:"parameters"`
	OffPolicy  *OffPolicy  `json:"off_policy"`
	Canary     *Canary     `json:"canary"`      // null: never on trial
	Arms       []Arm       `json:"arms"`        // of campaigns planned while it was active
	Lift       *Lift       `json:"lift"`        // optimised and preferred over control there; null: nothing to compare
	LiftNeeded *int64      `json:"lift_needed"` // messages the smaller of the two lacks to show it; null: enough, or nothing can be said
	SRM        *SRM        `json:"srm"`         // null: nothing was drawn by lot
	Drift      *Drift      `json:"drift"`       // null: never active
	Decisions  []Decision  `json:"decisions"`
}

// Snapshot is what a model was trained on.
type Snapshot struct {
	From           time.Time       `json:"from"` // of sending
	Until          time.Time       `json:"until"`
	ResponseWindow kairos.Duration `json:"response_window"`
	Slots          []int           `json:"slots"`  // local hours with exploration
	People         int             `json:"people"` // with activity, a preference or exploration
	Deliveries     int64           `json:"deliveries"`
	Responses      int64           `json:"responses"`
	Comparing      int64           `json:"comparing"`       // what the responses are worth for comparing hours within people; see comparing
	DroppedOverlap int64           `json:"dropped_overlap"` // another message to the person within the response window
	DroppedLate    int64           `json:"dropped_late"`    // sent more than an hour after the hour that was drawn
	WithPreference int             `json:"with_preference"` // people whose preferred hours count as ten events
	Fingerprint    string          `json:"fingerprint"`     // sha256 of the snapshot: same fingerprint and seed, same model
}

// Test is a significance test.
type Test struct {
	Statistic float64 `json:"statistic"` // chi-square, or z where df is 0
	DF        int     `json:"df"`
	P         float64 `json:"p"`
	AdjustedP float64 `json:"adjusted_p"` // Holm, over the two tests
	People    int     `json:"people"`     // who carried information
}

// Tests are those of a verdict.
type Tests struct {
	Main        Test    `json:"main"`        // does the hour matter to anybody?
	Interaction Test    `json:"interaction"` // do people differ?
	Look        int     `json:"look"`        // how often the log has been looked at
	Alpha       float64 `json:"alpha"`       // of this look
}

// Needed is what exploration still lacks for a verdict of null.
type Needed struct {
	Responses  int64 `json:"responses"`
	Deliveries int64 `json:"deliveries"`
}

// Cluster is a kind of people.
type Cluster struct {
	Cluster int       `json:"cluster"` // from 0
	Size    int       `json:"size"`    // people, when last scored
	Share   float64   `json:"share"`
	Hour    int       `json:"hour"`   // best local hour; -1: none was explored
	Rhythm  []float64 `json:"rhythm"` // 24, sum 1
	Curve   []float64 `json:"curve"`  // 24, relative response, mean 1
	Low     []float64 `json:"low"`    // 24, 95 % band of Curve
	High    []float64 `json:"high"`
}

// Parameters of the fit; see dto.Model.
type Parameters struct {
	K         int        `json:"k"`
	C         [3]float64 `json:"c"`
	Prior     float64    `json:"prior"`
	Bandwidth float64    `json:"bandwidth"`
	Kappa     float64    `json:"kappa"`
	Gain      float64    `json:"gain"` // held-out nats over the common curve
}

// OffPolicy values policies on exploration traffic: a check, never a gate.
type OffPolicy struct {
	Model    dto.OffPolicy `json:"model"`    // the model's hours
	Global   dto.OffPolicy `json:"global"`   // its best hour for everybody
	Baseline dto.OffPolicy `json:"baseline"` // a random allowed hour: what exploration itself brought
	// Current is the model that was active at the time; null: there was none.
	Current *dto.OffPolicy `json:"current"`
}

// Canary is a trial.
type Canary struct {
	Share        float64    `json:"share"` // of the optimised arm
	Since        time.Time  `json:"since"`
	NeededPerArm int64      `json:"needed_per_arm"`
	ExpectedLift float64    `json:"expected_lift"` // that the size is made for
	Candidate    Arm        `json:"candidate"`
	Current      Arm        `json:"current"`  // the active model, or the baseline time
	Control      Arm        `json:"control"`  // the same campaigns
	Progress     float64    `json:"progress"` // of the smaller arm, 0..1
	Done         bool       `json:"done"`
	Pass         bool       `json:"pass"`
	Reason       string     `json:"reason"`
	Lift         *Lift      `json:"lift"` // candidate over current
	JudgedAt     *time.Time `json:"judged_at"`
}

// Arm is what one arm of an experiment brought.
type Arm struct {
	Arm       string   `json:"arm"`
	N         int64    `json:"n"` // messages sent
	Responses int64    `json:"responses"`
	Rate      *float64 `json:"rate"` // null when nothing was sent
}

// Lift compares two arms.
type Lift struct {
	Estimate *float64    `json:"estimate"` // ratio of rates - 1; null when nobody responded in the second
	Interval *[2]float64 `json:"interval"` // 95 %
	P        float64     `json:"p"`        // two-sided
	Verdict  string      `json:"verdict"`  // better, worse, no_detectable_difference, not_enough_data
}

// SRM is the check for a sample ratio mismatch.
type SRM struct {
	P  float64 `json:"p"`
	OK bool    `json:"ok"`
}

// Drift is what the watch over the active model saw.
type Drift struct {
	Days      int            `json:"days"`
	Level     float64        `json:"level"`     // Page-Hinkley's
	Threshold float64        `json:"threshold"` // above which it rings
	Stability *dto.Stability `json:"stability"` // of people's best hours since training; null: never scored twice
	AlarmAt   *time.Time     `json:"alarm_at"`
	Reason    string         `json:"reason"`
	Diary     []Day          `json:"diary"` // oldest first, at most 90
}

// Day is one line of the drift watch's diary.
type Day struct {
	Day              string   `json:"day"` // 2026-11-22, UTC
	N                int64    `json:"n"`
	Responses        int64    `json:"responses"`
	ControlN         int64    `json:"control_n"`
	ControlResponses int64    `json:"control_responses"`
	Residual         *float64 `json:"residual"`
	Level            float64  `json:"level"`
}

// Decision is who did what to a model, and why.
type Decision struct {
	At     time.Time `json:"at"`
	Action string    `json:"action"` // requested, trained, failed, canary, judged, promoted, rejected, rolled_back, retired, drifted
	Actor  string    `json:"actor"`  // a person's name; kairos for what follows from rules
	Reason string    `json:"reason"`
}

// By is a person who decides, and why; both are required.
type By struct {
	Name   string `json:"by"`
	Reason string `json:"reason"`
}

// Standing is where timing stands at a glance: the front page's.
type Standing struct {
	Verdict   dto.Verdict `json:"verdict"` // of the newest trained model; not_enough_data before
	Headline  string      `json:"headline"`
	Next      string      `json:"next"`
	Active    *int        `json:"active"` // version
	Canary    *int        `json:"canary"`
	Training  *int        `json:"training"`
	Exposures int64       `json:"exposures"` // matured exploration deliveries that count
	Responses int64       `json:"responses"`
	Needed    *Needed     `json:"needed"`
	Explore   float64     `json:"explore"`  // the share that campaigns without an experiment of their own explore with now
	TrainAt   *time.Time  `json:"train_at"` // when it trains by itself next; null: never
}
