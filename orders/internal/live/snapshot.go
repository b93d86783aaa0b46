package order

import "slices"

// Snapshot says which transactions of the database had ended when it was taken: all below
// Min, none from Max on, and between them all but those in Open. Whatever is read later
// has every change that the snapshot includes.
type Snapshot struct {
	Min, Max Watermark
	Open     []Watermark
}

// Includes reports whether the transaction that made a change had ended.
func (s Snapshot) Includes(changedIn Watermark) bool {
	return changedIn < s.Min || changedIn < s.Max && !slices.Contains(s.Open, changedIn)
}

// Snapshot is one in which every transaction below the watermark has ended, and no other.
func (w Watermark) Snapshot() Snapshot { return Snapshot{Min: w, Max: w} }
