package main

import (
	"crypto/ed25519"
	"strconv"

	"github.com/spf13/cobra"

	"ferry/identity"
)

func newIDCmd() *cobra.Command {
	var public string
	cmd := &cobra.Command{
		Use:   "id FILE | --public HEX",
		Short: "Print the names that a key has",
		Long: `Print a public key with the two names made from it, as decimal strings: origin_hash, under which a daemon with this
key writes its chain, and node_id, under which a node with this key is known.

FILE is a private key as ferry init writes it (mode 0600), a PEM public key, or 64 hexadecimal digits.`,
		Example: `  ferry id cluster/keys/a.pem
  ferry id --public 3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29
  ferry id --json cluster/keys/a.pem | jq -r .node_id`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().StringVar(&public, "public", "", "a public key of 64 hexadecimal digits, instead of a file")
	asJSON := jsonFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("public") == (len(args) == 1) {
			return usagef("give either a key file or --public")
		}
		pub, err := publicKey(args, public)
		if err != nil {
			return err
		}
		return printJSON(cmd.OutOrStdout(), namesOf(pub), *asJSON)
	}
	return cmd
}

func publicKey(files []string, public string) (ed25519.PublicKey, error) {
	if len(files) == 1 {
		return identity.LoadPublic(files[0])
	}
	pub, err := identity.ParsePublic(public)
	if err != nil {
		return nil, usagef("--public %q: %w", public, err)
	}
	return pub, nil
}

type keyNames struct {
	PublicKey  string `json:"public_key"`
	OriginHash string `json:"origin_hash"`
	NodeID     string `json:"node_id"`
}

func namesOf(pub ed25519.PublicKey) keyNames {
	return keyNames{
		PublicKey:  identity.FormatPublic(pub),
		OriginHash: strconv.FormatUint(uint64(identity.OriginOf(pub)), 10),
		NodeID:     strconv.FormatUint(uint64(identity.NodeIDOf(pub)), 10),
	}
}
