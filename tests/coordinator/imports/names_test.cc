#include "coordinator/imports/names.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

// Cases name only the fields that they are about.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace vmferry::imports {
namespace {

std::string x(std::size_t n) { return std::string(n, 'x'); }

TEST(NamesTest, NormalizesNames) {
  struct Case {
    const char* id;
    std::string input;
    std::string expected;  // empty: an error
  };
  const Case cases[] = {
      {"OV-01", "", ""},
      {"OV-02", "$!@#$!@#$%", ""},
      {"OV-03", "-----", ""},
      {"OV-04", "https://my.host.com", "httpsmy-host-com"},
      {"OV-05", " my.host.com", "my-host-com"},
      {"OV-06", "MY.HOST.COM", "my-host-com"},
      {"OV-07", "-my-host;", "my-host"},
      {"OV-08", "-my-72host;", "my-72host"},
      {"OV-09", " @#$_#*($%-my-[];.1@##@%2#-host;   ", "my--12-host"},
      {"OV-10 a", "my-host", "my-host"},
      {"OV-10 b", "12-my-host-123", "12-my-host-123"},
      {"OV-10 c", "my-12host", "my-12host"},
      {"OV-10 d", "m", "m"},
      {"OV-10 e", "0", "0"},
      {"OV-11", "my.host.com", "my.host.com"},
      {"OV-12 a", x(253), x(253)},
      {"OV-12 b", x(254), x(253)},
      {"OV-12 c", x(506), x(253)},
      {"letters beyond ASCII are deleted", "\xc3\xa9t\xc3\xa9 1", "t1"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    const Result<std::string> name = normalize_name(c.input);
    EXPECT_EQ(name.ok(), !c.expected.empty());
    if (name) {
      EXPECT_EQ(*name, c.expected);
    }
  }
}

TEST(NamesTest, Shortens) {
  struct Case {
    const char* id;
    std::string input, expected;
  };
  const Case cases[] = {
      {"OV-13 a", "", ""},
      {"OV-13 b", "x", "x"},
      {"OV-13 c", x(34), x(34)},
      {"OV-13 d", x(63), x(63)},
      {"OV-14", x(64), x(60) + "-64"},
      {"OV-15 a", x(128), x(59) + "-128"},
      {"OV-15 b", x(253), x(59) + "-253"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    EXPECT_EQ(shorten(c.input), c.expected);
    EXPECT_LE(shorten_unique(c.input).size(), 63u);
  }
  EXPECT_NE(shorten_unique(x(80) + "a"), shorten_unique(x(80) + "b"));
}

TEST(NamesTest, Ov16MakesALabelOfAHostName) {
  const Result<std::string> label = normalize_label("rhev-orange-03.rdu2.scalelab.redhat.com");
  ASSERT_TRUE(label);
  EXPECT_EQ(*label, "rhev-orange-03-rdu2-scalelab-redhat-com");
}

TEST(NamesTest, Ov17VolumeNamesFitAnyTargetName) {
  const SourceVm vm{.provider = ProviderKind::Ovirt};
  const SourceDisk disk{.attachment_id = "123"};
  const std::string claim = claim_name("d39a8d6c-ea37-5c91-8979-334e7e07cab6", vm, disk);
  EXPECT_EQ(claim.size(), 40u);
  EXPECT_EQ(volume_name(claim), "dv-" + claim);
}

TEST(NamesTest, ClaimNamesSeparateImportAndDisk) {
  const SourceVm ovirt{.provider = ProviderKind::Ovirt};
  EXPECT_NE(claim_name("vm1", ovirt, {.attachment_id = "23"}),
            claim_name("vm12", ovirt, {.attachment_id = "3"}));
  const SourceVm vmware{.provider = ProviderKind::Vmware};
  EXPECT_EQ(claim_name("uid", vmware, {.attachment_id = "203"}), "uid-203");
}

TEST(NamesTest, Ov25FormatsQuantities) {
  constexpr std::uint64_t k = 1024;
  static_assert(std::is_unsigned_v<std::uint64_t>);  // OV-25: there is no negative size
  struct Case {
    const char* id;
    std::uint64_t bytes;
    const char* expected;
  };
  const Case cases[] = {
      {"OV-20", 1, "1"},
      {"OV-21 a", k, "1Ki"},
      {"OV-21 b", 12 * k, "12Ki"},
      {"OV-22 a", k * k, "1Mi"},
      {"OV-22 b", 512 * k * k, "512Mi"},
      {"OV-23 a", k * k * k, "1Gi"},
      {"OV-23 b", 4 * k * k * k, "4Gi"},
      {"OV-23 c", k * k * k * k, "1Ti"},
      {"OV-23 d", k * k * k * k * k, "1Pi"},
      {"OV-23 e", k * k * k * k * k * k, "1Ei"},
      {"OV-24", k * k * k - 1, "1073741823"},
      {"no smaller unit is tried", 1610612736, "1610612736"},
      {"nothing", 0, "0"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    EXPECT_EQ(format_quantity(c.bytes), c.expected);
  }
}

TEST(NamesTest, ResolvesTheTargetName) {
  const auto x = [](std::size_t length) { return std::string(length, 'x'); };
  struct Case {
    const char* id;
    std::optional<std::string> wanted;  // spec.targetVmName
    std::string source;
    std::string expected;  // empty: invalid
  };
  const Case cases[] = {
      {"the source's name, as a label", {}, "My VM.lab", "myvm-lab"},
      {"the wanted one comes first", "wanted", "My VM.lab", "wanted"},
      {"a wanted one is not made to fit", "Not A Label", "web", ""},
      {"LC-12", "", "web", ""},
      {"LC-13", {}, "", ""},
      {"LC-14 target", "#$%^&*()", "web", ""},
      {"LC-14 source", {}, "#$%^&*()", ""},
      {"LC-15 target", x(64), "web", ""},
      {"LC-15 source: shortened (DECISION-M1)", {}, x(64), x(54) + "-bb2fa3ee"},
      {"LC-16 target", x(63), "web", x(63)},
      {"LC-16 source", {}, x(63), x(63)},
      {"nothing is left of it", {}, "\xe6\x97\xa5", ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    SourceVm vm;
    vm.name = c.source;
    api::ImportSpec spec;
    spec.target_vm_name = c.wanted;
    const Result<std::string> name = target_vm_name(spec, vm);
    EXPECT_EQ(name.ok(), !c.expected.empty());
    if (name) {
      EXPECT_EQ(*name, c.expected);
    } else {
      EXPECT_EQ(name.error().kind(), ErrorKind::InvalidArgument);
    }
  }
}

TEST(NamesTest, NormalizedNamesAreValidForAnyText) {
  std::mt19937 random(7);
  std::uniform_int_distribution<int> byte(0, 255), length(0, 300);
  for (int i = 0; i < 5000; ++i) {
    std::string text(static_cast<std::size_t>(length(random)), ' ');
    for (char& c : text) c = static_cast<char>(i % 2 == 0 ? byte(random) : byte(random) % 60 + 45);
    if (const Result<std::string> name = normalize_name(text)) {
      EXPECT_TRUE(is_dns1123_subdomain(*name)) << text;
    }
    if (const Result<std::string> label = normalize_label(text)) {
      EXPECT_TRUE(is_dns1123_label(*label)) << text;
    }
    const std::string value = label_value(text);
    EXPECT_LE(value.size(), 63u);
    const auto alnum = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    };
    for (const char c : value) EXPECT_TRUE(alnum(c) || c == '-' || c == '_' || c == '.') << value;
    if (!value.empty()) {
      EXPECT_TRUE(alnum(value.front()) && alnum(value.back())) << value;
    }
  }
}

}  // namespace
}  // namespace vmferry::imports
