package delivery

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"kairos"
	"kairos/internal/batch"
)

// campaign is what sending needs to know of one; fixed since its launch.
type campaign struct {
	id       kairos.ID
	name     string
	spec     kairos.CampaignSpec
	template kairos.ID
	version  int32
}

func (c *campaign) window() time.Duration {
	if w := time.Duration(c.spec.Schedule.Window); w > 0 {
		return w
	}
	return 24 * time.Hour
}

func (d *Delivery) campaign(ctx context.Context, id kairos.ID) (*campaign, error) {
	c := &campaign{id: id}
	err := d.pool.QueryRow(ctx, `SELECT name, spec, template, template_version FROM campaigns WHERE id = $1`, id).
		Scan(&c.name, &c.spec, &c.template, &c.version)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("campaign %s: %w", id, kairos.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read campaign %s: %w", id, err)
	}
	return c, nil
}

// recipient is a notification of the batch that is due, with its person.
type recipient struct {
	id      kairos.ID
	contact kairos.ID
	number  int32         // of the attempt that was opened for it; 0: none was
	tries   int32         // refusals for now so far
	reason  kairos.Reason // why it is skipped; "": it isn't
	planned time.Time
	data    []byte // the message's own values: a JSON object, or nothing

	email, first, last, locale, zone, region, external string
	attributes                                         []byte // a JSON object
}

// marked is the outcome of one marking.
type marked struct {
	held  bool   // the batch is still the caller's
	first bool   // by firstSQL: who was judged well has an attempt
	state string // of the campaign
	all   []recipient
}

func (m *marked) runs() bool { return m.state == kairos.Running || m.state == kairos.Scheduled }

// suppressionLock is the advisory lock between marking (shared) and
// suppressing on a person's demand (exclusive): a marking that commits after
// an unsubscription has seen it.
const suppressionLock = 0x6b6169726f73 // "kairos"

// stateFrozen stands for a campaign's where nothing may be sent; see Freeze.
const stateFrozen = "frozen"

// reasonEarly stands for a notification whose moment has not come; never stored.
const reasonEarly kairos.Reason = "early"

// markSQL takes the next due notifications of the batch after a place in its
// range, judges each by the rules as they are at this moment and opens an
// attempt for those that pass; all or nothing under the fence, which is held
// until the commit, so that a reissue of the batch sees every attempt.
//
// $1 batch, $2 epoch, $3 owner, $4 campaign, $5 after, $6 hi, $7 limit,
// $8 now, $9 provider, $10 channel, $11 marketing, $12 topic, $13 latest,
// $14 window, $15 and $16 the watermark that the database must hold, $17
// whether attributes are wanted.
const markSQL = markRules + `
	CROSS JOIN LATERAL (
		SELECT coalesce(max(a.number), 0) AS last, count(*) FILTER (WHERE a.state = 'rejected_temp') AS tries
		FROM attempts a WHERE a.notification = d.id AND a.campaign = $4) t
), opened AS (
	INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at)
	SELECT id, last + 1, $4, $1, $2, $9, 'sending', $8 FROM judged WHERE reason IS NULL
	ON CONFLICT DO NOTHING
	RETURNING notification, number
)` + markFound + `
UNION ALL -- a join would be planned for one row and run for a thousand
SELECT NULL, notification, NULL, number, 0, '', NULL, NULL, '', '', '', '', '', '', '', NULL FROM opened`

// firstSQL is markSQL for people without any attempt so far: it opens number 1
// for each. Were there an earlier attempt, live or not, the ledger's keys would
// refuse the whole of it (unique_violation); then markSQL has to look closer.
const firstSQL = markRules + `
	CROSS JOIN LATERAL (SELECT 0 AS last, 0 AS tries) t
), opened AS (
	INSERT INTO attempts (notification, number, campaign, batch, epoch, provider, state, started_at)
	SELECT id, 1, $4, $1, $2, $9, 'sending', $8 FROM judged WHERE reason IS NULL
)` + markFound

const markRules = `
WITH fence AS MATERIALIZED (
	SELECT CASE WHEN EXISTS (SELECT FROM freezes f WHERE f.released_at IS NULL OR b.campaign = ANY (f.held))
	              OR $15::uuid IS NOT NULL AND NOT EXISTS (SELECT FROM watermarks w WHERE w.id = $15 AND w.n >= $16)
	            THEN 'frozen' ELSE c.state END AS state
	FROM batches b JOIN campaigns c ON c.id = b.campaign
	WHERE b.id = $1 AND b.epoch = $2 AND b.state = 'running' AND b.owner = $3
	FOR NO KEY UPDATE OF b
), due AS MATERIALIZED (
	SELECT n.id, n.contact, n.planned_at, n.data FROM notifications n
	WHERE n.campaign = $4 AND n.id > $5 AND n.id <= $6 AND n.batch = $1 AND n.state = 'planned'
	  AND (SELECT state FROM fence) IN ('running', 'scheduled')
	ORDER BY n.id LIMIT $7
), judged AS MATERIALIZED (
	SELECT d.id, d.contact, d.planned_at, d.data, p.email, p.first_name, p.last_name, p.locale, p.timezone, p.region,
	       p.external_id, CASE WHEN $17 THEN p.attributes END AS attributes, t.last, t.tries::int AS tries,
	       CASE WHEN d.planned_at > $8 THEN 'early'
	            WHEN p.id IS NULL THEN 'contact_missing'
	            WHEN p.erased_at IS NOT NULL THEN 'erased'
	            WHEN coalesce(p.email, '') = '' THEN 'no_address'
	            WHEN $13::timestamptz IS NOT NULL AND $8 > $13 THEN 'past_latest'
	            WHEN d.planned_at + $14::interval < $8 THEN 'missed_window'
	            WHEN s.reason IS NOT NULL THEN s.reason
	            WHEN $11 AND (p.preferences -> 'channels' ->> $10 = 'false'
	                          OR $12 <> '' AND p.preferences -> 'topics' ->> $12 = 'false') THEN 'no_consent'
	       END AS reason
	FROM due d LEFT JOIN contacts p ON p.id = d.contact
	LEFT JOIN LATERAL (
		SELECT max(CASE WHEN scope = 'marketing' AND x.reason = 'unsubscribed' THEN 'unsubscribed' ELSE 'suppressed' END) AS reason
		FROM (SELECT scope, reason FROM suppressions
		      WHERE channel = $10 AND address = sha256(convert_to(lower(p.email), 'UTF8'))
		      UNION ALL -- on an empty table the channel's index would look as good as the person's
		      SELECT scope, reason FROM suppressions WHERE contact = d.contact AND channel || '' = $10) x
		WHERE scope = 'all' OR $11) s ON true`

const markFound = `
SELECT state, NULL::uuid AS id, NULL::uuid AS contact, 0 AS number, 0 AS tries, '' AS reason, NULL::timestamptz AS planned_at, NULL::jsonb AS data,
       '' AS email, '' AS first, '' AS last, '' AS locale, '' AS zone, '' AS region, '' AS external, NULL::jsonb AS attributes FROM fence
UNION ALL
SELECT NULL, id, contact, CASE WHEN reason IS NULL THEN last + 1 ELSE 0 END, tries, coalesce(reason, ''), planned_at, data,
       coalesce(email, ''), coalesce(first_name, ''), coalesce(last_name, ''),
       coalesce(locale, ''), coalesce(timezone, ''), coalesce(region, ''), coalesce(external_id, ''), attributes FROM judged`

// marking is what one marking asks for.
type marking struct {
	batch      *batch.Claimed
	campaign   *campaign
	provider   string
	after      kairos.ID
	limit      int
	attributes bool // of the people are wanted
	first      bool // nobody is thought to have an attempt yet
}

// mark opens attempts for up to limit notifications after a place and commits
// them, in one round trip. Whoever calls it owns the attempts it opened: each
// must be ended by settle.
func (d *Delivery) mark(ctx context.Context, g marking) (m *marked, err error) {
	if g.first {
		if m, err = d.markBy(ctx, g, firstSQL); err == nil || !isTaken(err) {
			return m, err
		}
	}
	return d.markBy(ctx, g, markSQL)
}

// isTaken reports whether a row of that key exists already (unique_violation).
func isTaken(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == "23505"
}

func (d *Delivery) markBy(ctx context.Context, g marking, sql string) (*marked, error) {
	b, c := g.batch, g.campaign
	var latest *time.Time
	if c.spec.Latest != nil {
		latest = c.spec.Latest
	}
	tideID, tideN := d.tide.Load().mark()
	m := &marked{first: sql == firstSQL, all: make([]recipient, 0, g.limit)}
	q := &pgx.Batch{} // without BEGIN: one implicit transaction
	q.Queue(`SELECT pg_advisory_xact_lock_shared($1), `+ledgerSettings, int64(suppressionLock))
	q.Queue(sql, b.Batch, b.Epoch, b.Owner, b.Campaign, zeroID(g.after), b.Hi, g.limit, d.clock.Now(), g.provider, string(b.Channel),
		c.spec.Marketing(), c.spec.Topic, latest, c.window(), tideID, tideN, g.attributes).Query(m.read)
	if err := d.pool.SendBatch(ctx, q).Close(); err != nil {
		return nil, fmt.Errorf("mark attempts of batch %s: %w", b.Batch, err)
	}
	return m, nil
}

// read takes the rows of a marking: the fence, those whom the rules judged, and
// which attempts were opened.
func (m *marked) read(rows pgx.Rows) error {
	opened := map[kairos.ID]int32{}
	for rows.Next() {
		var state *string
		var planned *time.Time
		var r recipient
		err := rows.Scan(&state, &r.id, &r.contact, &r.number, &r.tries, &r.reason, &planned, &r.data,
			&r.email, &r.first, &r.last, &r.locale, &r.zone, &r.region, &r.external, &r.attributes)
		switch {
		case err != nil:
			return err
		case state != nil:
			m.held, m.state = true, *state
		case planned == nil:
			opened[r.id] = r.number
		default:
			r.planned = *planned
			m.all = append(m.all, r)
		}
	}
	if !m.first {
		for i := range m.all {
			m.all[i].number = opened[m.all[i].id]
		}
	}
	slices.SortFunc(m.all, func(a, b recipient) int { return slices.Compare(a.id[:], b.id[:]) })
	return rows.Err()
}

// addressHash is how a suppression names an address.
func addressHash(address string) []byte {
	sum := sha256.Sum256([]byte(strings.ToLower(address)))
	return sum[:]
}
