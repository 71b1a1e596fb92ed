package main

import (
	"encoding/hex"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/fsm/meta"
	"parley/httpapi"
)

func newClusterHubKey() *cobra.Command {
	command := &cobra.Command{Use: "hubkey", Short: "Show and rotate the hub's keys: for its Proposals, for franking, and to receive what is encrypted to it"}
	command.AddCommand(newHubKeyList(), newHubKeyRotate())
	return command
}

func newHubKeyList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the keys, the oldest first, and which of each scheme new rooms get",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			keys, err := o.client().HubKeys(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), keys, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "PURPOSE\tSCHEME\tKEY\tADDED\tFOR")
				for _, key := range keys {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", key.Purpose, algorithmName(key), shortKey(key.PublicKey), addedAt(key.Added), hubKeyUse(key))
				}
			})
		},
	}
	return o.flags(command)
}

// algorithmName is the signature scheme of a key, or the cipher suite from which on its KEM is used.
func algorithmName(key httpapi.HubKeyEntry) string {
	switch {
	case key.SignatureScheme != "":
		return key.SignatureScheme
	case key.CipherSuite != 0:
		return fmt.Sprintf("KEM of suite %d", key.CipherSuite)
	default:
		return "HMAC-SHA256"
	}
}

// shortKey is the beginning of a public key, by which it is told from others.
func shortKey(public []byte) string { return hex.EncodeToString(public[:min(8, len(public))]) }

func addedAt(added time.Time) string {
	if added.IsZero() {
		return "not recorded"
	}
	return added.Format(time.DateTime)
}

func hubKeyUse(key httpapi.HubKeyEntry) string {
	use := "rooms that list it"
	switch {
	case key.Current && key.Purpose == meta.PurposeFrankMAC.String():
		use = "new messages"
	case key.Current:
		use = "new rooms"
	case key.Purpose == meta.PurposeFrankMAC.String():
		use = "messages from before"
	}
	if key.DevelopmentOnly {
		use += " (development only)"
	}
	return use
}

func newHubKeyRotate() *cobra.Command {
	var o operation
	var rotation httpapi.HubKeyRotation
	command := &cobra.Command{
		Use:   "rotate",
		Short: "Make new keys, which new rooms get from then on",
		Long: "Every scheme gets a new key, or with --scheme that one; with --purpose those of another purpose than external-sender.\n" +
			"The keys before stay, sealed, and are used for the rooms that list them;\n" +
			"a room changes over when its members put the new key into external_senders. The same command again rotates again.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return coded(o.client().RotateHubKeys(command.Context(), rotation))
		},
	}
	command.Flags().StringVar(&rotation.Purpose, "purpose", httpapi.PurposeExternalSender, "external-sender, franking, frank-mac or external-receiver")
	command.Flags().StringVar(&rotation.SignatureScheme, "scheme", "", "Ed25519, Ed448, ECDSA-P256-SHA256, ECDSA-P384-SHA384 or ECDSA-P521-SHA512; none: all")
	return o.flags(command)
}
