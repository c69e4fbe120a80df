package cache

const (
	// pinShare is the part of a cache that may be pinned, so that most of it goes on turning, and coldShare the part
	// up to which what is not hot may be: filters and indexes of about 4 GiB of data by the defaults, and always room
	// for those of the upper levels.
	pinShare  = 4
	coldShare = 6
)

// Pin turns a hold into a long one, of a block that its holder wants to use without asking the cache each time. It is
// refused when too much is pinned already, hot ones last, and for blocks outside the cache; then h is held as before.
// The holder ends it with Unpin.
func (c *Cache) Pin(h *Handle, hot bool) bool {
	limit := c.size / coldShare
	if hot {
		limit = c.size / pinShare
	}
	if h.rec == nil {
		return false
	}
	if n := int64(h.rec.size); c.pinned.Add(n) > limit {
		c.pinned.Add(-n)
		return false
	}
	return true
}

// Unpin releases a pinned block.
func (c *Cache) Unpin(h *Handle) {
	c.pinned.Add(-int64(h.rec.size))
	h.Release()
}
