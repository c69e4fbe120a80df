package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxAllReplicas bounds the copies of a key in all data centres together, because the
// ring does.
const maxAllReplicas = 16

// perDC is a number of copies for each data centre that has any.
type perDC struct{ p *[]DCReplicas }

// ParsePerDC reads "east=3,west=3". What it returns is sorted by name.
func ParsePerDC(s string) ([]DCReplicas, error) {
	var list []DCReplicas
	sum := 0
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		at := strings.LastIndexByte(item, '=')
		if at < 0 {
			return nil, fmt.Errorf("%q is not DC=N", item)
		}
		dc := strings.TrimSpace(item[:at])
		n, err := strconv.Atoi(strings.TrimSpace(item[at+1:]))
		switch {
		case dc == "" || len(dc) > 64:
			return nil, fmt.Errorf("%q does not name a data centre", item)
		case err != nil || n < 1 || n > MaxReplicas:
			return nil, fmt.Errorf("%q: not a number from 1 to %d", item, MaxReplicas)
		case slices.ContainsFunc(list, func(other DCReplicas) bool { return other.DC == dc }):
			return nil, fmt.Errorf("%q is named twice", dc)
		}
		list = append(list, DCReplicas{dc, n})
		sum += n
	}
	if sum > maxAllReplicas {
		return nil, fmt.Errorf("%d copies in all, more than %d", sum, maxAllReplicas)
	}
	slices.SortFunc(list, func(a, b DCReplicas) int { return strings.Compare(a.DC, b.DC) })
	return list, nil
}

func (v perDC) parse(s string) error {
	list, err := ParsePerDC(strings.Trim(strings.TrimSpace(s), "{}"))
	if err != nil {
		return err
	}
	*v.p = list
	return nil
}

func (v perDC) String() string {
	var items []string
	for _, dc := range *v.p {
		items = append(items, fmt.Sprintf("%s=%d", dc.DC, dc.N))
	}
	return strings.Join(items, ",")
}

func (v perDC) toml() string {
	if len(*v.p) == 0 {
		return "{}"
	}
	var items []string
	for _, dc := range *v.p {
		items = append(items, fmt.Sprintf("%s = %d", quoted(dc.DC), dc.N))
	}
	return "{ " + strings.Join(items, ", ") + " }"
}

func (v perDC) allowed() string {
	return fmt.Sprintf("a number from 1 to %d for each data centre, %d in all, or nothing", MaxReplicas, maxAllReplicas)
}
