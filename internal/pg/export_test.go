package pg

import (
	"sync/atomic"

	"github.com/jackc/pgx/v5/pgxpool"
)

// LastDrop tells when idle connections were dropped, in ns of Unix time.
func LastDrop(pool *pgxpool.Pool) *atomic.Int64 {
	return &pool.Config().ConnConfig.Tracer.(*watch).last
}
