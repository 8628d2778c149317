package edge

import "context"

// Repair tries what is damaged again, as the edge does from time to time.
func (e *Edge) Repair(ctx context.Context) error { return e.holdings.repair(ctx) }
