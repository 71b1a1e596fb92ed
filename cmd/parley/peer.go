package main

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/httpapi"
	"parley/mimi"
)

func newPeer() *cobra.Command {
	command := &cobra.Command{Use: "peer", Short: "Say which other providers this one talks to"}
	command.AddCommand(newPeerAdd(), newPeerList(), newPeerRemove(), newPeerBacklog(), newPeerPause(), newPeerResume(), newPeerReplay())
	return command
}

func newPeerAdd() *cobra.Command {
	var o operation
	var peer httpapi.PeerEntry
	var trust string
	var publicRoots bool
	command := &cobra.Command{
		Use:   "add DOMAIN",
		Short: "Put a provider on the allow-list, or change its entry",
		Long:  "Of an entry that exists, only what a flag is given for is changed.",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			domain, err := mimi.ParseProvider(names[0])
			if err != nil {
				return &codedError{exitUsage, err}
			}
			var change httpapi.PeerChange
			if trust != "" {
				pem, err := os.ReadFile(trust)
				if err != nil {
					return err
				}
				peer.TrustPEM = string(pem)
			}
			if trust != "" || publicRoots {
				change.TrustPEM = &peer.TrustPEM
			}
			given := command.Flags().Changed
			if given("directory") {
				change.DirectoryURLs = &peer.DirectoryURLs
			}
			if given("accept-server-auth") {
				change.AcceptServerAuth = &peer.AcceptServerAuth
			}
			if given("allow-private-addresses") {
				change.AllowPrivateAddresses = &peer.AllowPrivateAddresses
			}
			return coded(o.client().ChangePeer(command.Context(), domain, change))
		},
	}
	command.Flags().StringSliceVar(&peer.DirectoryURLs, "directory", nil, "URL of its directory document (repeatable; default: the well-known place at the domain)")
	command.Flags().StringVar(&trust, "trust", "", "file with the CA certificates to recognise it by (default: the public roots)")
	command.Flags().BoolVar(&publicRoots, "public-roots", false, "recognise it by the public roots again")
	command.MarkFlagsMutuallyExclusive("trust", "public-roots")
	command.Flags().BoolVar(&peer.AcceptServerAuth, "accept-server-auth", false, "take a client certificate that is marked for servers only")
	command.Flags().BoolVar(&peer.AllowPrivateAddresses, "allow-private-addresses", false, "let its names resolve to private and loopback addresses")
	return o.flags(command)
}

func newPeerList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the providers on the allow-list, and which of them are paused",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			peers, err := o.client().Peers(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), peers, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "DOMAIN\tDIRECTORIES\tTRUST\tDELIVERY")
				for _, p := range peers {
					trust := "public roots"
					if p.TrustPEM != "" {
						trust = "pinned"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Domain, strings.Join(p.DirectoryURLs, " "), trust, holdText(p.Hold))
				}
			})
		},
	}
	return o.flags(command)
}

func newPeerRemove() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "remove DOMAIN",
		Short: "Take a provider off the allow-list",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			domain, err := mimi.ParseProvider(names[0])
			if err != nil {
				return &codedError{exitUsage, err}
			}
			return coded(o.client().RemovePeer(command.Context(), domain))
		},
	}
	return o.flags(command)
}
