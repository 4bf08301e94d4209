// Probe is what tests run in a pod to see whether a cluster's services work.
//
//	probe serve ADDRESS   answer every HTTP request with this pod's name and the caller's address, until SIGTERM
//	probe get URL         ask for URL until it answers 200 (60 s at most), print the answer
//	probe lookup NAME     resolve NAME (60 s at most), print its addresses
//	probe sleep           wait for SIGTERM
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const patience = 60 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "serve":
		err = serve(ctx, os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "get":
		err = retry(ctx, func(ctx context.Context) error { return get(ctx, os.Args[2]) })
	case len(os.Args) == 3 && os.Args[1] == "lookup":
		err = retry(ctx, func(ctx context.Context) error { return lookup(ctx, os.Args[2]) })
	case len(os.Args) == 2 && os.Args[1] == "sleep":
		<-ctx.Done()
	default:
		fmt.Fprintln(os.Stderr, "usage: probe serve ADDRESS | get URL | lookup NAME | sleep")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, address string) error {
	host, _ := os.Hostname()
	server := &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "probe %s answers %s\n", host, r.RemoteAddr)
	})}
	go func() {
		<-ctx.Done()
		// The caller's grace period is longer than this.
		grace, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		server.Shutdown(grace)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil {
		os.Stdout.Write(body)
	}
	return err
}

func lookup(ctx context.Context, name string) error {
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	for _, a := range addresses {
		fmt.Println(a)
	}
	return err
}

// retry tries once a second; a try takes 5 s at most.
func retry(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, 5*time.Second)
		err := try(once)
		done()
		if err == nil {
			return nil
		}
		fmt.Fprintln(os.Stderr, "probe:", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}
