package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// writeDisk makes the two files of a flat disk: the text descriptor `base`.vmdk and `base`-flat.vmdk with the image's
// bytes, holes kept. It answers with the flat file's path.
func writeDisk(dir, base string, disk bedDisk, uuid string) (string, error) {
	flat := filepath.Join(dir, base+"-flat.vmdk")
	out, err := os.OpenFile(flat, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if err := out.Truncate(disk.Size); err != nil {
		return "", err
	}
	if disk.Image != "" {
		if err := copySparse(out, disk.Image, disk.Size); err != nil {
			return "", err
		}
		// As old as its image: a bed that is started again serves the same disk.
		info, err := os.Stat(disk.Image)
		if err != nil {
			return "", err
		}
		if err = os.Chtimes(flat, info.ModTime(), info.ModTime()); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, base+".vmdk"), []byte(descriptor(base, disk, uuid)), 0o600); err != nil {
		return "", err
	}
	switch {
	case disk.isDelta():
		return writeDelta(dir, base, disk, uuid)
	case disk.Backing == "split":
		return flat, splitDisk(dir, base, disk)
	}
	return flat, nil
}

// splitDisk makes two extents of a flat disk, as hosted products and old stores have them; the flat file itself then stands
// for no part of it any more, and only tells what the guest sees.
func splitDisk(dir, base string, disk bedDisk) error {
	flat := filepath.Join(dir, base+"-flat.vmdk")
	half := disk.Size / sector / 2 * sector
	name := filepath.Join(dir, base+".vmdk")
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	lines := ""
	for i, part := range [][2]int64{{0, half}, {half, disk.Size - half}} {
		extent := fmt.Sprintf("%s-f%03d.vmdk", base, i+1)
		if err := copyPart(filepath.Join(dir, extent), flat, part[0], part[1]); err != nil {
			return err
		}
		lines += fmt.Sprintf("RW %d FLAT \"%s\" 0\n", part[1]/sector, extent)
	}
	whole := fmt.Sprintf("RW %d VMFS \"%s-flat.vmdk\"\n", disk.Size/sector, base)
	split := strings.Replace(strings.Replace(string(text), whole, lines, 1), `"vmfs"`, `"twoGbMaxExtentFlat"`, 1)
	return os.WriteFile(name, []byte(split), 0o600)
}

func copyPart(to, from string, offset, length int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, io.NewSectionReader(in, offset, length))
	return err
}

// writeDelta puts a snapshot's delta on top of the flat disk `base`. What stands in for the delta's blocks is a file with the
// whole disk as the guest sees it: who reads the base, or takes the delta for flat, gets other bytes. It answers with that
// file's path.
func writeDelta(dir, base string, disk bedDisk, uuid string) (string, error) {
	name := filepath.Join(dir, base+deltaSuffix+"-delta.vmdk")
	out, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if err := out.Truncate(disk.Size); err != nil {
		return "", err
	}
	image := disk.Current
	if image == "" {
		image = disk.Image
	}
	if image != "" {
		if err := copySparse(out, image, disk.Size); err != nil {
			return "", err
		}
	}
	kind, create := "VMFSSPARSE", "vmfsSparse"
	if disk.Backing == "sesparse" {
		kind, create = "SESPARSE", "seSparse"
	}
	parent := crc32.ChecksumIEEE([]byte(uuid+base)) & 0x7fffffff
	text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n"+
		"parentFileNameHint=\"%s.vmdk\"\n\nRW %d %s \"%s\"\n", parent^0x5a5a5a5a, parent, create, base, disk.Size/sector, kind,
		filepath.Base(name))
	return name, os.WriteFile(filepath.Join(dir, base+deltaSuffix+".vmdk"), []byte(text), 0o600)
}

const deltaSuffix = "-000001"

// copySparse copies the data of `image` and leaves its holes holes.
func copySparse(out *os.File, image string, limit int64) error {
	const seekData, seekHole = 3, 4
	in, err := os.Open(image)
	if err != nil {
		return err
	}
	defer in.Close()
	end, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end > limit {
		return fmt.Errorf("%s has %d bytes, the disk only %d", image, end, limit)
	}
	for at := int64(0); at < end; {
		data, err := in.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) { // nothing but hole from here on
			return nil
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(data, seekHole); err != nil {
			return err
		}
		if _, err = in.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err = out.Seek(data, io.SeekStart); err != nil {
			return err
		}
		if _, err = io.CopyN(out, in, at-data); err != nil {
			return err
		}
	}
	return nil
}

// descriptor is what a host writes beside a flat extent of VMFS (Virtual Disk Format 5.0).
func descriptor(base string, disk bedDisk, uuid string) string {
	adapter := map[string]string{"ide": "ide"}[disk.Controller]
	if adapter == "" {
		adapter = "lsilogic"
	}
	content := crc32.ChecksumIEEE([]byte(uuid + base))
	var b strings.Builder
	fmt.Fprintf(&b, "# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=%08x\nparentCID=ffffffff\n", content&0x7fffffff)
	fmt.Fprintf(&b, "createType=\"vmfs\"\n\n# Extent description\nRW %d VMFS \"%s-flat.vmdk\"\n\n", disk.Size/sector, base)
	fmt.Fprintf(&b, "# The Disk Data Base \n#DDB\n\nddb.adapterType = \"%s\"\n", adapter)
	fmt.Fprintf(&b, "ddb.geometry.cylinders = \"%d\"\nddb.geometry.heads = \"255\"\nddb.geometry.sectors = \"63\"\n",
		disk.Size/sector/(255*63))
	fmt.Fprintf(&b, "ddb.longContentID = \"%08x%08x%08x%08x\"\n", content, ^content, content*3, content&0x7fffffff)
	if disk.Thin {
		b.WriteString("ddb.thinProvisioned = \"1\"\n")
	}
	hex := strings.ToLower(strings.ReplaceAll(uuid, "-", ""))
	pairs := make([]string, 0, 16)
	for i := 0; i+2 <= len(hex); i += 2 {
		pairs = append(pairs, hex[i:i+2])
	}
	fmt.Fprintf(&b, "ddb.uuid = \"%s-%s\"\n", strings.Join(pairs[:8], " "), strings.Join(pairs[8:], " "))
	b.WriteString("ddb.virtualHWVersion = \"13\"\n")
	return b.String()
}
