// Package kairos is the vocabulary of a notification platform with
// delivery-time optimisation, and its front page.
//
// # The life of a campaign
//
// One binary, one Postgres that holds the truth, one Redis that only wakes
// workers. A campaign passes four stages; each takes a batch, writes its
// result, its events and the next stage's batches in one transaction, and
// commits before it returns.
//
//  1. A marketer posts contacts, a template and a campaign (api, creation),
//     and launches it. The launch writes one batch: expand.
//  2. creation.Expand cuts the audience into pages of 10,000 contacts by
//     keyset; each page is a batch for planning.
//  3. orchestration.Plan decides for each person of a page: consent,
//     suppression, channel, quiet hours, holdout, arm, slot; where hours are
//     chosen, by the active timing model. Each gets a notification with a
//     state or a named reason; those to be sent are cut into batches of up to
//     1,000 that are due at their slot.
//  4. The queue rings for batches whose slot has come. delivery.Send claims
//     one, commits each attempt as "sending" before the first byte leaves,
//     renders, hands over to a provider, and records what became of it.
//  5. Recipients open, click, view, accept, pay. api/track answers each hit
//     after it is on disk (internal/spool); analysis.Ship moves the spool into
//     the event log.
//  6. analysis.Fold turns the log into funnels, returns and profiles; api and
//     api/dashboard show them.
//  7. analysis/timing learns from explored deliveries, with the mathematics of
//     dto, whether the hour matters and to whom. A model is tried on a share
//     of the traffic, promoted by a person, and read by the next planning.
//
// cmd/kairos/pipeline.go connects these steps on one screen.
//
// # States
//
//	campaign      draft -> scheduled -> running <-> paused -> finished | cancelled | failed;  finished -> running for a late proof
//	batch         planned -> queued -> running -> done | cancelled      (a new epoch each time it is issued again)
//	notification  planned -> accepted | failed | unknown | cancelled | skipped;  skipped and held_out from the start
//	attempt       sending -> accepted | rejected_temp | rejected_perm | not_sent | unknown
//	              unknown -> accepted | not_sent | abandoned | resend_forced
//	timing model  training -> candidate -> canary -> active -> retired;  rejected | failed on the way
//
// # Who writes which table
//
//	creation           contacts, segments, templates, template_versions, campaigns, audience_pages, imports, import_chunks
//	orchestration      notifications (rows), experiments; the outcome columns of notifications belong to delivery
//	delivery           attempts, suppressions, delivery_state, watermarks, freezes
//	analysis           journeys, actions, rollups, arms, revenue, conversions, profiles, subscriptions, subscription_deliveries
//	analysis/timing    exposures, timing_models, timing_decisions, timing_scores, timing_days, timing_state
//	internal/eventlog  events, event_keys, event_cursors, tickets
//	internal/batch     batches
//	api                api_keys, idempotency_keys
//
// # Rooms
//
// No stage imports another: they meet in tasks, tables and events. What each
// package may import is written down in arch_test.go and tested. Fences,
// leases and epochs are internal/batch's; Redis is known to internal/queue
// alone; dto is pure mathematics.
package kairos
