#include "coordinator/volumes/directories.h"

#include <fstream>

#include "common/bytes.h"
#include "common/catalogue.h"
#include "tests/coordinator/embedded/store_support.h"

namespace vmferry::volumes {
namespace {

namespace fs = std::filesystem;
using kube::types::kPersistentVolumeClaim;
using nlohmann::json;

class DirectoriesTest : public embedded::StoreFixture {
 protected:
  DirectoriesTest()
      : volumes_(*store_, *store_, dir_.root(), [](const std::string& path) {
          return Result<std::uint64_t>(path == "/dev/small" ? 1 * kGiB : 4 * kGiB);
        }) {
    owner_ = make(kube::types::kConfigMap, config_map("owner"));
    make_class("local", {{"path", "volumes"}}, true);
    make_class("devices", {{"devices", "/dev/large, /dev/small"}}, false);
  }
  void make_class(const std::string& name, const json& parameters, bool is_default,
                  const char* provisioner = "vmferry.io/directory") {
    make(kube::types::kStorageClass,
         kube::Object(json{
             {"metadata",
              {{"name", name},
               {"annotations",
                {{"storageclass.kubernetes.io/is-default-class", is_default ? "true" : "false"}}}}},
             {"provisioner", provisioner},
             {"parameters", parameters}}));
  }
  ClaimSpec claim(const std::string& name) const {
    ClaimSpec spec;
    spec.key = {"n", name};
    spec.request_bytes = spec.disk_bytes = kMiB;
    spec.owner = {"v1", "ConfigMap", owner_.name(), owner_.uid(), true, true};
    spec.labels = {{"l", "1"}};
    return spec;
  }
  std::string reach(const std::string& name) {
    std::string waiting;
    const auto volume = volumes_.make_reachable({"n", name}, waiting, {});
    EXPECT_TRUE(volume && *volume) << waiting;
    return volume && *volume ? (*volume)->target.path : "";
  }
  std::string file(const std::string& name) const {
    return dir_.path("volumes/n/" + name + "/disk.img");
  }
  void expect_code(const Result<void>& result, std::string_view code) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), code) << to_string(result.error());
  }

  DirectoryVolumes volumes_;
  kube::Object owner_;
};

TEST_F(DirectoriesTest, MakesABoundClaimWithItsDirectory) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  const auto object = find("a", kPersistentVolumeClaim);
  ASSERT_TRUE(object);
  EXPECT_EQ(object->json()["status"]["phase"], "Bound");
  EXPECT_EQ(object->json()["spec"]["storageClassName"], "local");
  EXPECT_EQ(object->json()["spec"]["volumeMode"], "Filesystem");
  EXPECT_EQ(object->json()["spec"]["resources"]["requests"]["storage"], "1048576");
  EXPECT_TRUE(object->controlled_by(owner_.uid()));
  EXPECT_EQ(object->labels().at("l"), "1");
  EXPECT_EQ(reach("a"), file("a"));
  EXPECT_FALSE(fs::exists(file("a")));
  EXPECT_TRUE(fs::is_directory(fs::path(file("a")).parent_path()));
}

TEST_F(DirectoriesTest, RepairsWhatACrashLeftOut) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  fs::remove_all(dir_.path("volumes/n"));
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  EXPECT_TRUE(fs::is_directory(dir_.path("volumes/n/a")));
  fs::remove(dir_.path("volumes/n/a/.vmferry-claim"));  // killed before the marker
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  EXPECT_TRUE(fs::exists(dir_.path("volumes/n/a/.vmferry-claim")));
}

TEST_F(DirectoriesTest, RemovesDataAndObject) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  std::ofstream(file("a")) << "data";
  ASSERT_TRUE(volumes_.remove_claim({"n", "a"}, "another", {}));
  EXPECT_TRUE(fs::exists(file("a")));
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(volumes_.remove_claim({"n", "a"}, owner_.uid(), {}));
    EXPECT_FALSE(fs::exists(dir_.path("volumes/n/a")));
    EXPECT_FALSE(find("a", kPersistentVolumeClaim));
  }
}

TEST_F(DirectoriesTest, RefusesForeignClaimsAndDirectories) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  ClaimSpec other = claim("a");
  other.owner.uid = "another";
  expect_code(volumes_.ensure_claim(other, {}), code::kNameTaken);
  fs::create_directories(dir_.path("volumes/n/mine"));
  std::ofstream(dir_.path("volumes/n/mine/precious")) << "data";
  expect_code(volumes_.ensure_claim(claim("mine"), {}), code::kNameTaken);
  EXPECT_FALSE(volumes_.remove_claim({"n", "mine"}, owner_.uid(), {}));
  EXPECT_TRUE(fs::exists(dir_.path("volumes/n/mine/precious")));
}

TEST_F(DirectoriesTest, DoesNotFollowLinks) {
  fs::create_directories(dir_.path("elsewhere"));
  fs::create_directories(dir_.path("volumes/n"));
  fs::create_directory_symlink(dir_.path("elsewhere"), dir_.path("volumes/n/a"));
  expect_code(volumes_.ensure_claim(claim("a"), {}), code::kTargetUnsafe);
  EXPECT_TRUE(fs::is_empty(dir_.path("elsewhere")));
  for (const char* name : {"../a", "..", "", "a/b", ".hidden"}) {
    expect_code(volumes_.ensure_claim(claim(name), {}), code::kTargetUnsafe);
  }
}

TEST_F(DirectoriesTest, NamesTheClassesThatExist) {
  make_class("cloud", json::object(), false, "ebs.csi.aws.com");
  ClaimSpec spec = claim("a");
  spec.storage_class = "fast";
  const auto missing = volumes_.ensure_claim(spec, {});
  expect_code(missing, code::kStorageClass);
  EXPECT_EQ(missing.error().kind(), ErrorKind::NotFound);
  EXPECT_NE(missing.error().message().find("cloud, devices, local"), std::string::npos);
  spec.storage_class = "cloud";
  expect_code(volumes_.ensure_claim(spec, {}), code::kStorageClass);
  spec.storage_class = "local";
  spec.volume_mode = VolumeMode::Block;
  expect_code(volumes_.ensure_claim(spec, {}), code::kStorageClass);
}

TEST_F(DirectoriesTest, SaysWhatAFullDirectoryLacks) {
  ClaimSpec spec = claim("a");
  spec.disk_bytes = 1ULL << 60;
  const auto full = volumes_.ensure_claim(spec, {});
  expect_code(full, code::kTargetFull);
  EXPECT_EQ(full.error().kind(), ErrorKind::ResourceExhausted);
  EXPECT_FALSE(find("a", kPersistentVolumeClaim));
}

TEST_F(DirectoriesTest, TakesTheSmallestFreeDevice) {
  const auto block = [&](const std::string& name) {
    ClaimSpec spec = claim(name);
    spec.storage_class = "devices";
    spec.volume_mode = VolumeMode::Block;
    return spec;
  };
  ASSERT_TRUE(volumes_.ensure_claim(block("a"), {}));
  EXPECT_EQ(reach("a"), "/dev/small");
  ASSERT_TRUE(volumes_.ensure_claim(block("b"), {}));
  EXPECT_EQ(reach("b"), "/dev/large");
  expect_code(volumes_.ensure_claim(block("c"), {}), code::kTargetFull);
  ASSERT_TRUE(volumes_.remove_claim({"n", "a"}, owner_.uid(), {}));
  ClaimSpec large = block("c");
  large.disk_bytes = 2 * kGiB;
  expect_code(volumes_.ensure_claim(large, {}), code::kTargetFull);
  ASSERT_TRUE(volumes_.ensure_claim(block("c"), {}));
  EXPECT_EQ(reach("c"), "/dev/small");
}

TEST_F(DirectoriesTest, SweepsWhatTheCollectorLeft) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  std::ofstream(file("a")) << "data";
  fs::create_directories(dir_.path("volumes/n/foreign"));
  EXPECT_EQ(*volumes_.sweep({}), 0);
  ASSERT_TRUE(remove("owner"));
  ASSERT_TRUE(find("a", kPersistentVolumeClaim)->deleting());
  EXPECT_TRUE(fs::exists(file("a")));
  EXPECT_EQ(*volumes_.sweep({}), 1);
  EXPECT_FALSE(find("a", kPersistentVolumeClaim));
  EXPECT_FALSE(fs::exists(dir_.path("volumes/n/a")));
  EXPECT_TRUE(fs::exists(dir_.path("volumes/n/foreign")));
}

// A class's directory may be shared by two homes, and outlives a home that was made anew.
TEST_F(DirectoriesTest, LeavesTheClaimsOfAnotherStoreAlone) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  std::ofstream(file("a")) << "data";
  fs::copy(dir_.path("volumes/n/a"), dir_.path("volumes/n/theirs"));
  std::ofstream(dir_.path("volumes/n/theirs/.vmferry-claim")) << "uid-of-another-store\n";
  EXPECT_EQ(*volumes_.sweep({}), 0);
  EXPECT_TRUE(fs::exists(file("theirs")));
}

TEST_F(DirectoriesTest, RemovesObjectAndDataOfAClaimThatIsBeingDeleted) {
  ASSERT_TRUE(volumes_.ensure_claim(claim("a"), {}));
  ASSERT_TRUE(remove("owner"));
  ASSERT_TRUE(volumes_.remove_claim({"n", "a"}, owner_.uid(), {}));
  EXPECT_FALSE(find("a", kPersistentVolumeClaim));
  EXPECT_FALSE(fs::exists(dir_.path("volumes/n/a")));
}

}  // namespace
}  // namespace vmferry::volumes
