// Callers with the Go client of docs/clients.md. What they hold is in the book of restarts.py: each line is answered once it
// stands there.
package main

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"restarts/allotd"
)

var (
	waiting  sync.Map
	printing sync.Mutex
	over     atomic.Bool
)

func say(line string) {
	printing.Lock()
	defer printing.Unlock()
	fmt.Println(line)
}

func note(line, answer string) {
	stands := make(chan struct{})
	waiting.Store(answer, stands)
	say(line)
	<-stands
}

func caller(who string, client allotd.Allotd, ttl int) {
	for !over.Load() {
		lease, err := client.Lease(ttl, time.Minute)
		if err != nil {
			say(fmt.Sprintf("! %s got none: %v", who, err))
			return
		}
		number := strconv.FormatInt(lease.Number, 10)
		note("+ "+number+" "+who, number)
		time.Sleep(time.Duration(rand.Int63n(int64(200 * time.Millisecond))))
		if rand.Intn(2) == 0 {
			lease, err = client.Renew(lease, ttl)
			time.Sleep(time.Duration(rand.Int63n(int64(100 * time.Millisecond))))
		}
		note("- "+number, "-"+number)
		if err == nil {
			err = client.GiveBack(lease, "talked")
		}
		if err != nil {
			say(fmt.Sprintf("! %s lost %s: %v", who, number, err))
		}
	}
}

func main() {
	callers, _ := strconv.Atoi(os.Args[2])
	ttl, _ := strconv.Atoi(os.Args[3])
	go func() {
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			if lines.Text() == "stop" {
				over.Store(true)
			} else if stands, ok := waiting.LoadAndDelete(lines.Text()); ok {
				close(stands.(chan struct{}))
			}
		}
	}()
	var all sync.WaitGroup
	for index := 0; index < callers; index++ {
		all.Add(1)
		go func(who string) {
			defer all.Done()
			caller(who, allotd.Allotd{URL: os.Args[1], Pool: "p"}, ttl)
		}(fmt.Sprintf("go-%d", index))
	}
	all.Wait()
}
