package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"github.com/zeebo/xxh3"

	"ferry/frame"
	"ferry/snapshot"
)

// stateShownBytes is how much state or bindings inspect prints without --full.
const stateShownBytes = 4 << 10

func newSnapshotCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Look at snapshots",
		Args:  cobra.ArbitraryArgs,
		RunE:  needsCommand,
	}
	cmd.AddCommand(newInspectCmd())
	return cmd
}

func newInspectCmd() *cobra.Command {
	var fromHex, full bool
	cmd := &cobra.Command{
		Use:   "inspect FILE | --hex",
		Short: "Print the fields of a CDS1 snapshot",
		Long: `Print what stands in a CDS1 snapshot, version 2 or 3, after checking it strictly. For a FILE: its size, the size of the
state and XXH3-64 over it, and the fields; a state or bindings over 4 KiB are null there, unless --full is given. The
identity envelope is printed as it is, sealed.

With --hex, read snapshots of version 2 from stdin, one in hex on each line, and write each as one line of JSON:

  {"fields":{"version":2,"entity_id":"d700…","through_seq":"0","chain_link":{…},"created_at":"1753079119083431145",
   "state":"","bindings_bytes":"","identity_envelope":null}}

` + lineErrorHelp,
		Example: `  ferry snapshot inspect orders.cds1
  ferry snapshot inspect --json orders.cds1 | jq -r .fields.through_seq
  jq -r .hex snapshots.jsonl | ferry snapshot inspect --hex`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&fromHex, "hex", false, "read lines of hex from stdin instead of a file")
	cmd.Flags().BoolVar(&full, "full", false, "print the whole state and bindings of FILE, whatever their size, all on one line")
	asJSON := jsonFlag(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if fromHex == (len(args) == 1) {
			return usagef("give either a snapshot file or --hex")
		}
		if fromHex {
			var in inspector
			return linesResult(filterLines(cmd.InOrStdin(), cmd.OutOrStdout(), in.answer))
		}
		return inspectFile(cmd.OutOrStdout(), args[0], full, *asJSON)
	}
	return cmd
}

// inspector answers lines of snapshots in hex. Its buffer is used again for every line.
type inspector struct {
	raw []byte
}

func (in *inspector) answer(dst, line []byte) ([]byte, bool) {
	out, err := in.inspect(dst, line)
	if err != nil {
		return appendLineError(dst, err), false
	}
	return out, true
}

func (in *inspector) inspect(dst, line []byte) ([]byte, error) {
	raw, err := unhex(in.raw[:0], line)
	in.raw = raw
	if err != nil {
		return dst, err
	}
	// What a net-mesh node would take.
	env, err := snapshot.Open(bytes.NewReader(raw), int64(len(raw)), snapshot.Limits{})
	if err != nil {
		return dst, err
	}
	b := bytes.NewBuffer(dst)
	b.WriteString(`{"fields":`)
	if err := writeFields(b, env, true); err != nil {
		return dst, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func inspectFile(w io.Writer, path string, full, asJSON bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("snapshot %s: not a regular file", path)
	}
	env, err := snapshot.Open(f, info.Size(), snapshot.Limits{Version3: true})
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", path, err)
	}
	digest := xxh3.New()
	if _, err := io.Copy(digest, env.State); err != nil {
		return fmt.Errorf("snapshot %s: read the state: %w", path, err)
	}

	out := bufio.NewWriterSize(w, filterBufferBytes)
	if full || asJSON {
		err = writeInspection(out, path, info.Size(), digest.Sum64(), env, full)
	} else {
		var line, indented bytes.Buffer
		err = writeInspection(&line, path, info.Size(), digest.Sum64(), env, false)
		if err == nil {
			err = json.Indent(&indented, line.Bytes(), "", "  ")
		}
		out.Write(indented.Bytes())
	}
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", path, err)
	}
	out.WriteByte('\n')
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

func writeInspection(w io.Writer, path string, size int64, digest uint64, env *snapshot.Envelope, full bool) error {
	name, err := json.Marshal(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `{"file":%s,"file_bytes":%d,"state_bytes":%d,"state_xxh3":"%d","fields":`, name, size, env.StateLen, digest)
	if err != nil {
		return err
	}
	if err := writeFields(w, env, full); err != nil {
		return err
	}
	_, err = io.WriteString(w, "}")
	return err
}

// writeFields writes the fields under the names and in the form of the golden vectors. The state is streamed: it may
// be larger than memory.
func writeFields(w io.Writer, env *snapshot.Envelope, full bool) error {
	link := env.ChainLink
	_, err := fmt.Fprintf(w, `{"version":%d,"entity_id":"%x","through_seq":"%d",`+
		`"chain_link":{"origin_hash":"%d","horizon_encoded":"%d","sequence":"%d","parent_hash":"%d"},"created_at":"%d","state":`,
		env.Version, env.EntityID, uint64(env.ThroughSeq),
		uint64(link.OriginHash), uint64(link.HorizonEncoded), uint64(link.Sequence), link.ParentHash, env.CreatedAt)
	if err != nil {
		return err
	}
	if _, err := env.State.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := writeHex(w, env.State, env.StateLen, full); err != nil {
		return err
	}
	if _, err := io.WriteString(w, `,"bindings_bytes":`); err != nil {
		return err
	}
	if err := writeHex(w, bytes.NewReader(env.Bindings), uint64(len(env.Bindings)), full); err != nil {
		return err
	}
	if env.Identity == nil {
		_, err = io.WriteString(w, `,"identity_envelope":null}`)
	} else {
		_, err = fmt.Fprintf(w, `,"identity_envelope":"%x"}`, env.Identity)
	}
	return err
}

// writeHex writes the n bytes of r as a JSON string, or null when they are too many to be shown.
func writeHex(w io.Writer, r io.Reader, n uint64, full bool) error {
	if n > stateShownBytes && !full {
		_, err := io.WriteString(w, "null")
		return err
	}
	if _, err := io.WriteString(w, `"`); err != nil {
		return err
	}
	if copied, err := io.Copy(hex.NewEncoder(w), r); err != nil {
		return err
	} else if uint64(copied) != n {
		return fmt.Errorf("%w: %d of %d bytes", frame.ErrTruncated, copied, n)
	}
	_, err := io.WriteString(w, `"`)
	return err
}
