package timing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"kairos"
	"kairos/dto"
	"kairos/internal/batch"
)

// maxLogged bounds the exploration deliveries kept one by one to value
// policies on; of more those of every k-th person are taken.
const maxLogged = 1_000_000

// delivery is one exploration delivery.
type delivery struct {
	person     int32
	propensity float32
	allowed    uint32 // local hours, bit h
	hour       uint8
	responded  bool
}

// snapshot is what a model is trained on: people in the order of their ids.
type snapshot struct {
	Snapshot
	people []kairos.ID
	data   dto.Data
	log    []delivery // of those who count, by person
	look   int
	parent *int
}

// snapshot reads all that training needs in one transaction, so that nothing
// moves meanwhile.
func (r *Registry) snapshot(ctx context.Context) (*snapshot, error) {
	now := r.clock.Now()
	s := &snapshot{}
	err := pgx.BeginTxFunc(ctx, r.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Sorting many people takes longer than a request may.
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0; SET LOCAL work_mem = '64MB'`); err != nil {
			return err
		}
		s.From, s.Until, s.ResponseWindow = now.Add(-r.opts.History), now.Add(-r.opts.ResponseWindow), kairos.Duration(r.opts.ResponseWindow)
		if err := s.header(ctx, tx); err != nil {
			return err
		}
		rows := max(len(s.people), 1) // the fit wants a person; one without anything says nothing
		s.data = dto.Data{Activity: dto.NewMatrix(rows, kairos.HoursPerDay), Delivered: dto.NewMatrix(rows, kairos.HoursPerDay), Responded: dto.NewMatrix(rows, kairos.HoursPerDay)}
		if err := s.activity(ctx, tx, now); err != nil {
			return err
		}
		if err := s.preferences(ctx, tx); err != nil {
			return err
		}
		return s.exposures(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("read snapshot: %w", err)
	}
	s.Fingerprint = s.fingerprint()
	return s, nil
}

// header reads who the people are and what was dropped.
func (s *snapshot) header(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE dropped IS NULL), count(*) FILTER (WHERE dropped IS NULL AND responded),
		       count(*) FILTER (WHERE dropped = 'overlap'), count(*) FILTER (WHERE dropped = 'late'),
		       1 + (SELECT count(*) FROM timing_models WHERE trained_at IS NOT NULL AND (data->>'deliveries')::bigint >= $3),
		       (SELECT version FROM timing_models WHERE state = 'active')
		FROM exposures WHERE sent_at >= $1 AND sent_at < $2`, s.From, s.Until, dto.MinExploration).
		Scan(&s.Deliveries, &s.Responses, &s.DroppedOverlap, &s.DroppedLate, &s.look, &s.parent)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, `
		SELECT contact FROM profiles
		UNION SELECT contact FROM exposures WHERE sent_at >= $1 AND sent_at < $2 AND dropped IS NULL
		UNION SELECT id FROM contacts WHERE `+preferringSQL+`
		ORDER BY 1`, s.From, s.Until)
	if err != nil {
		return err
	}
	s.people, err = pgx.CollectRows(rows, pgx.RowTo[kairos.ID])
	s.People = len(s.people)
	return err
}

// preferringSQL picks the contacts who asked for hours.
const preferringSQL = `erased_at IS NULL AND jsonb_typeof(preferences->'preferred_hours') = 'array' AND preferences->'preferred_hours' <> '[]'`

// activity reads the profiles, decayed to now.
func (s *snapshot) activity(ctx context.Context, tx pgx.Tx, now time.Time) error {
	rows, err := tx.Query(ctx, `SELECT contact, activity FROM profiles ORDER BY contact`)
	if err != nil {
		return err
	}
	var id kairos.ID
	var a []float32
	w, person := dto.ActivityWeight(now), 0
	_, err = pgx.ForEachRow(rows, []any{&id, &a}, func() error {
		person = s.find(person, id)
		return decay(s.row(s.data.Activity, person), a, w)
	})
	return err
}

// decay writes a profile's activity as it counts now.
func decay(dst, activity []float32, weight float64) error {
	if len(activity) != kairos.HoursPerDay {
		return kairos.Invalid("activity", "of a person has %d hours instead of 24", len(activity))
	}
	for h, v := range activity {
		dst[h] = float32(float64(v) / weight)
	}
	return nil
}

func (s *snapshot) preferences(ctx context.Context, tx pgx.Tx) error {
	asked, err := askedHours(ctx, tx, kairos.ID{}, kairos.ID{})
	if err != nil {
		return err
	}
	person := 0
	for _, p := range asked {
		person = s.find(person, p.contact)
		dto.AddPreference(s.row(s.data.Activity, person), p.hours)
	}
	s.WithPreference = len(asked)
	return nil
}

// wish is a person's preferred hours of the day.
type wish struct {
	contact kairos.ID
	hours   dto.Mask
}

// askedHours reads the preferred hours of the people in (after, until], by id;
// zero: from the first, to the last.
func askedHours(ctx context.Context, db batch.DB, after, until kairos.ID) ([]wish, error) {
	rows, err := db.Query(ctx, `
		SELECT id, preferences FROM contacts
		WHERE id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
		  AND id <= coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') AND `+preferringSQL+` ORDER BY id`, after, until)
	if err != nil {
		return nil, fmt.Errorf("load preferences: %w", err)
	}
	var found []wish
	var id kairos.ID
	var raw []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &raw}, func() error {
		var p kairos.Preferences
		if json.Unmarshal(raw, &p) == nil { // what cannot be read asks for nothing; planning treats it alike
			if hours := hoursAsked(p); hours != 0 {
				found = append(found, wish{id, hours})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load preferences: %w", err)
	}
	return found, nil
}

// hoursAsked returns the hours of the day that any preferred range touches on
// any day.
func hoursAsked(p kairos.Preferences) (hours dto.Mask) {
	for slot := range kairos.Slot(kairos.SlotsPerWeek) {
		for _, h := range p.PreferredHours {
			if h.Contains(slot) {
				hours = hours.With(slot.Hour())
			}
		}
	}
	return hours
}

// exposures reads what was explored, person by person.
func (s *snapshot) exposures(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `
		SELECT contact, hour, allowed, propensity, responded FROM exposures
		WHERE sent_at >= $1 AND sent_at < $2 AND dropped IS NULL ORDER BY contact, sent_at, notification`, s.From, s.Until)
	if err != nil {
		return err
	}
	var id kairos.ID
	var hour int16
	var allowed int32
	d := delivery{}
	person, every := 0, 1+int(s.Deliveries/maxLogged)
	slots := dto.Mask(0)
	s.log = make([]delivery, 0, min(s.Deliveries, maxLogged+maxLogged/8))
	_, err = pgx.ForEachRow(rows, []any{&id, &hour, &allowed, &d.propensity, &d.responded}, func() error {
		if hour < 0 || hour >= kairos.HoursPerDay {
			return kairos.Invalid("hour", "of a delivery is %d", hour)
		}
		person = s.find(person, id)
		s.row(s.data.Delivered, person)[hour]++
		if d.responded {
			s.row(s.data.Responded, person)[hour]++
		}
		slots = slots.With(int(hour))
		if person%every == 0 {
			d.person, d.hour, d.allowed = int32(person), uint8(hour), uint32(allowed)
			s.log = append(s.log, d)
		}
		return nil
	})
	s.Slots = make([]int, 0, bits.OnesCount64(uint64(slots)))
	for h := range kairos.HoursPerDay {
		if slots.Has(h) {
			s.Slots = append(s.Slots, h)
		}
	}
	return err
}

// find returns the place of a person at or behind from.
func (s *snapshot) find(from int, id kairos.ID) int {
	if from < len(s.people) && s.people[from] == id {
		return from
	}
	if from+1 < len(s.people) && s.people[from+1] == id {
		return from + 1
	}
	i, _ := slices.BinarySearchFunc(s.people[from:], id, func(a, b kairos.ID) int { return bytes.Compare(a[:], b[:]) })
	return from + i
}

func (s *snapshot) row(m dto.Matrix, person int) []float32 {
	return m.Data[person*m.Stride : person*m.Stride+m.Cols]
}

// fingerprint is a hash of the numbers that the fit sees.
func (s *snapshot) fingerprint() string {
	h := sha256.New()
	buffer := make([]byte, 0, 4*4096)
	for _, m := range []dto.Matrix{s.data.Activity, s.data.Delivered, s.data.Responded} {
		for part := range slices.Chunk(m.Data, 4096) {
			buffer = buffer[:0]
			for _, v := range part {
				buffer = binary.LittleEndian.AppendUint32(buffer, math.Float32bits(v))
			}
			_, _ = h.Write(buffer) // a hash never fails
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
