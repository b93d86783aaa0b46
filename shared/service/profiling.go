package service

import (
	"net/http"
	"runtime/pprof"
	"strconv"
	"time"
)

// maxCPUProfile bounds the duration of a CPU profile.
const maxCPUProfile = 5 * time.Minute

// registerProfiles serves the profiles of the process below /debug/pprof/, in the format and
// at the paths that `go tool pprof` expects. net/http/pprof would serve the same and more,
// but it adds its handlers to http.DefaultServeMux and 330 kB to each binary.
func registerProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/profile", func(w http.ResponseWriter, r *http.Request) {
		duration := 30 * time.Second
		if seconds, err := strconv.Atoi(r.FormValue("seconds")); err == nil && seconds > 0 {
			duration = min(time.Duration(seconds)*time.Second, maxCPUProfile)
		}
		AllowTime(w, duration)
		w.Header().Set("Content-Type", "application/octet-stream")
		if err := pprof.StartCPUProfile(w); err != nil { // another one is running
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer pprof.StopCPUProfile()
		select {
		case <-time.After(duration):
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /debug/pprof/{name}", func(w http.ResponseWriter, r *http.Request) {
		profile := pprof.Lookup(r.PathValue("name"))
		if profile == nil {
			http.NotFound(w, r)
			return
		}
		debug, _ := strconv.Atoi(r.FormValue("debug")) // 0, the default, is the format of go tool pprof
		if debug == 0 {
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		_ = profile.WriteTo(w, debug) // fails only if the client has disconnected
	})
}
