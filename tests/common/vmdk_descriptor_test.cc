// Rows are those of source-vmware.md 10.
#include "common/vmdk_descriptor.h"

#include <gtest/gtest.h>

#include "common/catalogue.h"

namespace vmferry {
namespace {

TEST(VmdkDescriptorTest, Vsrc27ParsesCrlfPaddingSpacesInNamesAndSeveralExtents) {
  std::string text =
      "# Disk DescriptorFile\r\nversion=1\r\nencoding=\"UTF-8\"\r\nCID=FFFFFFFE\r\n"
      " parentCID = \"ffffffff\"\r\ncreateType=\"twoGbMaxExtentFlat\"\r\n\r\n# Extent "
      "description\r\n"
      "RW 4096 FLAT \"my disk-f001.vmdk\" 0\r\nRW 128 ZERO\r\nrdonly 64 VMFS \"b \"q\".vmdk\"\r\n"
      "RW 8 FLAT \"my disk-f001.vmdk\" 4096\r\n\r\nddb.adapterType = \"lsilogic\"\r\n";
  text.append(300, '\0');
  const auto parsed = parse_vmdk_descriptor(text);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(parsed->create_type, "twoGbMaxExtentFlat");
  EXPECT_EQ(parsed->cid, "fffffffe");
  const std::vector<VmdkExtent> expected{
      {"RW", "FLAT", 4096u * 512, "my disk-f001.vmdk", 0},
      {"RW", "ZERO", 128u * 512, "", 0},
      {"RDONLY", "VMFS", 64u * 512, "b \"q\".vmdk", 0},
      {"RW", "FLAT", 8u * 512, "my disk-f001.vmdk", 4096u * 512},
  };
  EXPECT_EQ(parsed->extents, expected);
  EXPECT_TRUE(check_vmdk_is_flat(*parsed).ok());
  EXPECT_EQ(parsed->size_bytes(), (4096u + 128 + 64 + 8) * 512);
}

TEST(VmdkDescriptorTest, RefusesWhatCannotBeReadAsFlatFiles) {
  struct Case {
    const char* name;
    std::string text;
    std::string_view code;
  };
  const std::string head = "version=1\nparentCID=ffffffff\n";
  const Case cases[] = {
      {"row 28: child of a snapshot", "version=1\nparentCID=12345678\nRW 8 VMFS \"a\"\n",
       code::kDiskUnsupported},
      {"row 29: names a parent", head + "parentFileNameHint=\"p.vmdk\"\nRW 8 VMFS \"a\"\n",
       code::kDiskUnsupported},
      {"sparse extent", head + "RW 8 SPARSE \"a.vmdk\"\n", code::kDiskUnsupported},
      {"seSparse", head + "RW 8 SESPARSE \"a.vmdk\"\n", code::kDiskUnsupported},
      {"raw device", head + "RW 8 VMFSRDM \"a.vmdk\"\n", code::kDiskUnsupported},
      {"no access", head + "NOACCESS 8 FLAT \"a\" 0\n", code::kDiskUnsupported},
      {"encrypted", head + "encryptionKeys = \"x\"\nRW 8 FLAT \"a\" 0\n", code::kDiskUnsupported},
      {"file in another directory", head + "RW 8 FLAT \"../a\" 0\n", code::kSourceProtocol},
      {"absolute file", head + "RW 8 FLAT \"/etc/shadow\" 0\n", code::kSourceProtocol},
      {"no file", head + "RW 8 FLAT\n", code::kSourceProtocol},
      {"empty file", head + "RW 8 FLAT \"\" 0\n", code::kSourceProtocol},
      {"negative size", head + "RW -8 FLAT \"a\" 0\n", code::kSourceProtocol},
      {"huge size", head + "RW 18446744073709551615 FLAT \"a\" 0\n", code::kSourceProtocol},
      {"sum overflows", head + "RW 9007199254740992 ZERO\nRW 9007199254740992 ZERO\n",
       code::kSourceProtocol},
      {"no extent", head, code::kSourceProtocol},
      {"no version", "RW 8 ZERO\n", code::kSourceProtocol},
      {"an HTML page", "<html><body>login</body></html>\n", code::kSourceProtocol},
      {"a sparse VMDK", "KDMV\x01", code::kSourceProtocol},
      {"offset that is none", head + "RW 8 VMFS \"a\" b\n", code::kSourceProtocol},
      {"half a quote", head + "RW 8 VMFS \"\n", code::kSourceProtocol},
      {"nothing", "", code::kSourceProtocol},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto parsed = parse_vmdk_descriptor(c.text);
    const Result<void> usable = parsed ? check_vmdk_is_flat(*parsed) : Result<void>(parsed.error());
    ASSERT_FALSE(usable.ok());
    EXPECT_EQ(usable.error().code(), c.code) << usable.error().message();
  }
}

}  // namespace
}  // namespace vmferry
