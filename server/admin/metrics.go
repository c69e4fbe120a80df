package admin

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxScrapes bounds the scrapes under way at a time: a scrape that finds
// others is one too many, not a reason to work harder.
const maxScrapes = 4

// Kind is how a Sample moves.
type Kind uint8

// Kinds of samples.
const (
	Counter   Kind = iota // only grows, and starts again at zero with the process
	Gauge                 // moves both ways
	Histogram             // a distribution: Count, Sum and Buckets instead of Value
)

// Sample is one number at the time of a scrape. Samples of one name differ in
// the values of their labels and agree in everything else.
type Sample struct {
	Name   string // kvstore_subsystem_what_unit, counters end in _total
	Help   string
	Kind   Kind
	Value  float64
	Labels []string // name, value, name, value ...

	Count   uint64
	Sum     float64
	Buckets map[float64]uint64 // how many were at most the key; the largest has no bound and is Count
}

// Sampler emits somebody's statistics. It is called from the goroutine of a
// scrape, possibly several at a time.
type Sampler func(emit func(Sample))

// metrics is the handler of /metrics, with a registry of its own.
func metrics(o Options) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range o.Samplers {
		registry.MustRegister(collector{s})
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, MaxRequestsInFlight: maxScrapes})
}

// collector makes a Sampler a prometheus.Collector. It describes nothing in
// advance, which Prometheus calls unchecked: the samples say what they are.
type collector struct{ sample Sampler }

// Describe implements prometheus.Collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	c.sample(func(s Sample) { out <- s.metric() })
}

// metric is s as Prometheus has it, or a metric that reports what is wrong with s.
func (s Sample) metric() prometheus.Metric {
	names, values := make([]string, 0, len(s.Labels)/2), make([]string, 0, len(s.Labels)/2)
	for i := 0; i+1 < len(s.Labels); i += 2 {
		names, values = append(names, s.Labels[i]), append(values, s.Labels[i+1])
	}
	desc := prometheus.NewDesc(s.Name, s.Help, names, nil)
	var metric prometheus.Metric
	var err error
	switch s.Kind {
	case Histogram:
		metric, err = prometheus.NewConstHistogram(desc, s.Count, s.Sum, s.Buckets, values...)
	case Gauge:
		metric, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, values...)
	default:
		metric, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, values...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return metric
}
