package fsm

import (
	"cmp"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// InventoryRead is what a user's clients have in store as of hub time. It is read from a replica, never stored.
type InventoryRead struct {
	User    mimi.UserURI
	Known   bool          // false: no client of the user has ever uploaded anything
	Clients []ClientStock // in order of their first upload
}

// ClientStock is one client's. Expired KeyPackages are left out.
type ClientStock struct {
	Client   mimi.ClientURI
	Stocks   []SuiteStock // by suite, single-use before last resort; none where nothing is in store
	Reserved uint32       // claimed, and not named by a Welcome yet, as far as the user's slot has heard
}

// SuiteStock counts KeyPackages of one suite and sort.
type SuiteStock struct {
	Suite      mls.CipherSuite
	LastResort bool
	Count      uint32
	Earliest   uint64 // seconds since 1970, of the one that expires first
	Latest     uint64
}

func (InventoryRead) outcomeKind() OutcomeKind { return OutcomeInventoryRead }

//	struct {
//	    opaque user<V>;
//	    uint8 known; // 0 or 1
//	    ClientStock clients<V>;
//	} InventoryRead;
//
//	struct {
//	    opaque client<V>;
//	    SuiteStock stocks<V>;
//	    uint32 reserved;
//	} ClientStock;
//
//	struct {
//	    uint16 suite;
//	    uint8 last_resort; // 0 or 1
//	    uint32 count;
//	    uint64 earliest;
//	    uint64 latest;
//	} SuiteStock;
func (o InventoryRead) appendTo(w *mls.Writer) {
	o.User.AppendTo(w)
	w.Bool(o.Known)
	appendList(w, o.Clients, func(w *mls.Writer, c ClientStock) {
		c.Client.AppendTo(w)
		appendList(w, c.Stocks, func(w *mls.Writer, s SuiteStock) {
			w.Uint16(uint16(s.Suite))
			w.Bool(s.LastResort)
			w.Uint32(s.Count)
			w.Uint64(s.Earliest)
			w.Uint64(s.Latest)
		})
		w.Uint32(c.Reserved)
	})
}

func readInventoryRead(r *mls.Reader) InventoryRead {
	return InventoryRead{User: mimi.ReadUserURI(r, "user"), Known: r.Bool("known"), Clients: readList(r, "clients", func(r *mls.Reader) ClientStock {
		return ClientStock{
			Client: mimi.ReadClientURI(r, "client"),
			Stocks: readList(r, "stocks", func(r *mls.Reader) SuiteStock {
				return SuiteStock{
					Suite: mls.CipherSuite(r.Uint16("suite")), LastResort: r.Bool("last_resort"), Count: r.Uint32("count"),
					Earliest: r.Uint64("earliest"), Latest: r.Uint64("latest"),
				}
			}),
			Reserved: r.Uint32("reserved"),
		}
	})}
}

// ReadStocks counts a user's inventory. It looks at every KeyPackage in store and every reference that is remembered.
func ReadStocks(r Reader, user mimi.UserURI) (InventoryRead, error) {
	read := InventoryRead{User: user}
	_, known, err := readUser(r, user)
	if err != nil || !known {
		return read, err
	}
	read.Known = true
	millis, err := ReadClock(r)
	if err != nil {
		return read, err
	}
	reserved, err := reservations(r, user, millis)
	if err != nil {
		return read, err
	}
	err = visitClients(r, user, func(position uint32, c clientRecord) (bool, error) {
		stocks, err := suiteStocks(r, user, position, millis/1000)
		read.Clients = append(read.Clients, ClientStock{Client: c.client, Stocks: stocks, Reserved: reserved[position]})
		return true, err
	})
	return read, err
}

// reservations counts the claimed KeyPackages that no Welcome has named, by the client's position.
func reservations(r Reader, user mimi.UserURI, now uint64) (map[uint32]uint32, error) {
	reserved := make(map[uint32]uint32)
	lower := userKey(keyKeyPackageRef, user)
	err := r.Scan(lower, lower.end(), func(_, value []byte) (bool, error) {
		ref, err := decodeUpTo("KeyPackage reference", value, refVersion, readRefRecord)
		if err == nil && ref.claimed && ref.consumedMillis == 0 && millisAfter(ref.notAfter) > now {
			reserved[ref.position]++
		}
		return true, err
	})
	return reserved, err
}

func suiteStocks(r Reader, user mimi.UserURI, position uint32, now uint64) (stocks []SuiteStock, err error) {
	for _, sort := range []stock{packagesOf(user, position), lastResortOf(user, position)} {
		err := scanRecords(r, sort.prefix, "KeyPackage", readKeyPackage, func(_ []byte, p KeyPackageFacts) (bool, error) {
			if p.NotAfter < now {
				return true, nil
			}
			i := slices.IndexFunc(stocks, func(s SuiteStock) bool { return s.Suite == p.Suite && s.LastResort == p.LastResort })
			if i < 0 {
				i = len(stocks)
				stocks = append(stocks, SuiteStock{Suite: p.Suite, LastResort: p.LastResort, Earliest: p.NotAfter})
			}
			s := &stocks[i]
			s.Count++
			s.Earliest, s.Latest = min(s.Earliest, p.NotAfter), max(s.Latest, p.NotAfter)
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(stocks, func(a, b SuiteStock) int {
		if order := cmp.Compare(a.Suite, b.Suite); order != 0 || a.LastResort == b.LastResort {
			return order
		}
		if b.LastResort {
			return -1
		}
		return 1
	})
	return stocks, nil
}
