// Writes one message of each kind that the C++ library 1.11 can make, one file each, into the folder it is given.
//
//   g++ -I/usr/include/openigtlink generate.cxx -lOpenIGTLink -lpthread -o generate && ./generate .
//
// The library writes header version 1 only, and knows neither COMMAND nor VIDEO nor VIDEOMETA. It writes beyond a
// short POSITION's body, and sends what it has not set as it finds it: `operator new` below gives it room to spare,
// and zeros, so that files come out the same every time.

#include "igtlBindMessage.h"
#include "igtlCapabilityMessage.h"
#include "igtlColorTableMessage.h"
#include "igtlImageMessage.h"
#include "igtlImageMetaMessage.h"
#include "igtlLabelMetaMessage.h"
#include "igtlNDArrayMessage.h"
#include "igtlPointMessage.h"
#include "igtlPolyDataMessage.h"
#include "igtlPositionMessage.h"
#include "igtlQuaternionTrackingDataMessage.h"
#include "igtlSensorMessage.h"
#include "igtlStatusMessage.h"
#include "igtlStringMessage.h"
#include "igtlTimeStamp.h"
#include "igtlTrackingDataMessage.h"
#include "igtlTrajectoryMessage.h"
#include "igtlTransformMessage.h"
#include "igtl_unit.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

static void *zeros(std::size_t size) {
  void *at = std::calloc(size + 64, 1);
  if (!at) throw std::bad_alloc();
  return at;
}
void *operator new(std::size_t size) { return zeros(size); }
void *operator new[](std::size_t size) { return zeros(size); }
void operator delete(void *at) noexcept { std::free(at); }
void operator delete[](void *at) noexcept { std::free(at); }
void operator delete(void *at, std::size_t) noexcept { std::free(at); }
void operator delete[](void *at, std::size_t) noexcept { std::free(at); }

static std::string folder;

// A device, and a time of 12 s and a quarter after 2001-09-09 01:46:40 UTC.
static void address(igtl::MessageBase *message, const char *device) {
  message->SetDeviceName(device);
  message->SetTimeStamp(1000000012, 0x40000000);
}

static void write(igtl::MessageBase *message, const char *name) {
  message->Pack();
  const std::string path = folder + "/" + name + ".bin";
  FILE *file = std::fopen(path.c_str(), "wb");
  if (!file || std::fwrite(message->GetPackPointer(), message->GetPackSize(), 1, file) != 1) {
    std::perror(path.c_str());
    std::exit(1);
  }
  std::fclose(file);
}

// A quarter turn about z, then z shifted: no row equals a column, no two numbers of the translation are alike.
static void quarter_turn(igtl::Matrix4x4 &matrix) {
  igtl::IdentityMatrix(matrix);
  matrix[0][0] = 0;
  matrix[0][1] = -1;
  matrix[1][0] = 1;
  matrix[1][1] = 0;
  matrix[0][3] = 10.5F;
  matrix[1][3] = -20.25F;
  matrix[2][3] = 30.125F;
}

template <class Message> static void ask(const char *name, const char *device) {
  typename Message::Pointer message = Message::New();
  address(message, device);
  write(message, name);
}

static void poses() {
  igtl::Matrix4x4 matrix;
  quarter_turn(matrix);
  igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
  address(transform, "StylusTip");
  transform->SetMatrix(matrix);
  write(transform, "transform");

  igtl::PositionMessage::Pointer position = igtl::PositionMessage::New();
  address(position, "Probe");
  position->SetPackType(igtl::PositionMessage::ALL);
  position->SetPosition(1.5F, -2.5F, 3.5F);
  position->SetQuaternion(0.5F, -0.5F, 0.5F, 0.5F);
  write(position, "position_28");
  position->SetPackType(igtl::PositionMessage::WITH_QUATERNION3);
  write(position, "position_24");
  position->SetPackType(igtl::PositionMessage::POSITION_ONLY);
  write(position, "position_12");

  igtl::TrackingDataMessage::Pointer tools = igtl::TrackingDataMessage::New();
  address(tools, "Tracker");
  const char *names[2] = {"Suction", "Ultrasound"};
  for (int i = 0; i < 2; i++) {
    igtl::TrackingDataElement::Pointer tool = igtl::TrackingDataElement::New();
    tool->SetName(names[i]);
    tool->SetType(i == 0 ? igtl::TrackingDataElement::TYPE_6D : igtl::TrackingDataElement::TYPE_5D);
    matrix[0][3] = 100.0F + static_cast<float>(i);
    tool->SetMatrix(matrix);
    tools->AddTrackingDataElement(tool);
  }
  write(tools, "tdata");

  igtl::QuaternionTrackingDataMessage::Pointer turned = igtl::QuaternionTrackingDataMessage::New();
  address(turned, "Tracker");
  for (int i = 0; i < 2; i++) {
    igtl::QuaternionTrackingDataElement::Pointer tool = igtl::QuaternionTrackingDataElement::New();
    tool->SetName(names[i]);
    tool->SetType(igtl::QuaternionTrackingDataElement::TYPE_TRACKER + 2 * i);
    tool->SetPosition(7.0F + static_cast<float>(i), 8.0F, -9.0F);
    tool->SetQuaternion(0.1F, 0.2F, 0.3F, 0.9F);
    turned->AddQuaternionTrackingDataElement(tool);
  }
  write(turned, "qtdata");
}

// 3 x 2 x 2 voxels of 0.5, 1.5 and 2.5 mm, of which one slice is sent; little-endian numbers from 1000 on.
static void images() {
  igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
  address(image, "Ultrasound");
  image->SetDimensions(3, 2, 2);
  image->SetSubVolume(3, 2, 1, 0, 0, 1);
  image->SetScalarTypeToInt16();
  image->SetEndian(igtl::ImageMessage::ENDIAN_LITTLE);
  image->SetCoordinateSystem(igtl::ImageMessage::COORDINATE_LPS);
  image->SetSpacing(0.5F, 1.5F, 2.5F);
  float i[3] = {0, 1, 0}, j[3] = {0, 0, 1}, k[3] = {1, 0, 0};
  image->SetNormals(i, j, k);
  image->SetOrigin(11.0F, 22.0F, 33.0F);
  image->AllocateScalars();
  for (int at = 0; at < 6; at++) {
    const uint16_t value = static_cast<uint16_t>(1000 + at);
    unsigned char *to = static_cast<unsigned char *>(image->GetScalarPointer()) + 2 * at;
    to[0] = static_cast<unsigned char>(value & 0xFF);
    to[1] = static_cast<unsigned char>(value >> 8);
  }
  write(image, "image");

  igtl::ImageMessage::Pointer colour = igtl::ImageMessage::New();
  address(colour, "Microscope");
  colour->SetDimensions(4, 3, 1);
  colour->SetNumComponents(3);
  colour->SetScalarTypeToUint8();
  colour->SetEndian(igtl::ImageMessage::ENDIAN_BIG);
  colour->SetSpacing(0.25F, 0.25F, 1.0F);
  colour->AllocateScalars();
  for (int at = 0; at < 36; at++) static_cast<unsigned char *>(colour->GetScalarPointer())[at] = static_cast<unsigned char>(7 * at);
  write(colour, "image_rgb");

  igtl::ImageMetaMessage::Pointer list = igtl::ImageMetaMessage::New();
  address(list, "Archive");
  for (int at = 0; at < 2; at++) {
    igtl::ImageMetaElement::Pointer entry = igtl::ImageMetaElement::New();
    entry->SetName(at ? "T1 after contrast" : "FLAIR");
    entry->SetDeviceName(at ? "T1c" : "FLAIR");
    entry->SetModality("MR");
    entry->SetPatientName("Phantom^Gelatine");
    entry->SetPatientID("P-0042");
    igtl::TimeStamp::Pointer stamp = igtl::TimeStamp::New();
    stamp->SetTime(900000000.5 + at);
    entry->SetTimeStamp(stamp);
    entry->SetSize(240, 200, static_cast<igtlUint16>(150 + at));
    entry->SetScalarType(igtl::ImageMessage::TYPE_UINT16);
    list->AddImageMetaElement(entry);
  }
  write(list, "imgmeta");

  igtl::LabelMetaMessage::Pointer labels = igtl::LabelMetaMessage::New();
  address(labels, "Archive");
  for (int at = 0; at < 2; at++) {
    igtl::LabelMetaElement::Pointer entry = igtl::LabelMetaElement::New();
    entry->SetName(at ? "oedema" : "core");
    entry->SetDeviceName("Labels");
    entry->SetLabel(static_cast<igtlUint8>(4 - at));
    entry->SetRGBA(10, 20, 30, static_cast<igtlUint8>(255 - at));
    entry->SetSize(240, 200, 150);
    entry->SetOwner("FLAIR");
    labels->AddLabelMetaElement(entry);
  }
  write(labels, "lbmeta");

  igtl::ColorTableMessage::Pointer table = igtl::ColorTableMessage::New();
  address(table, "Labels");
  table->SetIndexTypeToUint8();
  table->SetMapType(igtl::ColorTableMessage::MAP_RGB);
  table->AllocateTable();
  for (int at = 0; at < 768; at++) static_cast<unsigned char *>(table->GetTablePointer())[at] = static_cast<unsigned char>(at % 3 == 0 ? at / 3 : 200 + at % 3);
  write(table, "colort");
}

static void marks() {
  igtl::PointMessage::Pointer points = igtl::PointMessage::New();
  address(points, "Landmarks");
  for (int at = 0; at < 2; at++) {
    igtl::PointElement::Pointer point = igtl::PointElement::New();
    point->SetName(at ? "left tragus" : "nasion");
    point->SetGroupName("Fiducial");
    point->SetRGBA(1, 2, 3, static_cast<igtlUint8>(4 + at));
    point->SetPosition(1.25F, 2.5F, 5.0F + static_cast<float>(at));
    point->SetRadius(0.75F);
    point->SetOwner("T1c");
    points->AddPointElement(point);
  }
  write(points, "point");

  igtl::TrajectoryMessage::Pointer ways = igtl::TrajectoryMessage::New();
  address(ways, "Plan");
  for (int at = 0; at < 2; at++) {
    igtl::TrajectoryElement::Pointer way = igtl::TrajectoryElement::New();
    way->SetName(at ? "biopsy" : "approach");
    way->SetGroupName("Trajectory");
    way->SetType(at ? igtl::TrajectoryElement::TYPE_TARGET_ONLY : igtl::TrajectoryElement::TYPE_ENTRY_TARGET);
    way->SetRGBA(9, 8, 7, 6);
    way->SetEntryPosition(1.0F, 2.0F, 3.0F);
    way->SetTargetPosition(4.0F, 5.0F, 60.0F);
    way->SetRadius(2.0F);
    way->SetOwner("T1c");
    ways->AddTrajectoryElement(way);
  }
  write(ways, "traj");
}

// Two triangles that share an edge, a line along it, one vertex, one strip, and a number for each point.
static igtl::PolyDataMessage::Pointer mesh() {
  igtl::PolyDataMessage::Pointer mesh = igtl::PolyDataMessage::New();
  address(mesh, "Cortex");
  igtl::PolyDataPointArray::Pointer points = igtl::PolyDataPointArray::New();
  points->AddPoint(0.0F, 0.0F, 1.0F);
  points->AddPoint(10.0F, 0.0F, 2.0F);
  points->AddPoint(0.0F, 20.0F, 3.0F);
  points->AddPoint(10.0F, 20.0F, 4.0F);
  igtlUint32 triangles[2][3] = {{0, 1, 2}, {1, 3, 2}}, line[2] = {1, 2}, vertex[1] = {3}, strip[4] = {0, 1, 2, 3};
  igtl::PolyDataCellArray::Pointer polygons = igtl::PolyDataCellArray::New(), lines = igtl::PolyDataCellArray::New(),
                                   vertices = igtl::PolyDataCellArray::New(), strips = igtl::PolyDataCellArray::New();
  polygons->AddCell(3, triangles[0]);
  polygons->AddCell(3, triangles[1]);
  lines->AddCell(2, line);
  vertices->AddCell(1, vertex);
  strips->AddCell(4, strip);
  mesh->SetPoints(points);
  mesh->SetPolygons(polygons);
  mesh->SetLines(lines);
  mesh->SetVertices(vertices);
  mesh->SetTriangleStrips(strips);
  return mesh;
}

static void attribute(igtl::PolyDataMessage *to, int type, int components, int count, const char *name) {
  igtl::PolyDataAttribute::Pointer attribute = igtl::PolyDataAttribute::New();
  attribute->SetType(type, components);
  attribute->SetSize(static_cast<igtlUint32>(count));
  attribute->SetName(name);
  float data[64];
  for (int at = 0; at < 64; at++) data[at] = static_cast<float>(at) + 0.5F;
  attribute->SetData(data);
  to->AddAttribute(attribute);
}

static void meshes() {
  igtl::PolyDataMessage::Pointer plain = mesh();
  attribute(plain, igtl::PolyDataAttribute::POINT_SCALAR, 1, 4, "depth_mm");
  attribute(plain, igtl::PolyDataAttribute::POINT_NORMAL, 3, 4, "normal");
  write(plain, "polydata");
}

static void numbers() {
  igtl::SensorMessage::Pointer sensor = igtl::SensorMessage::New();
  address(sensor, "ForceGauge");
  // By the library's C half: its class keeps only the last of several units.
  igtl_unit_data unit;
  igtl_unit_init(&unit);
  unit.prefix = IGTL_UNIT_PREFIX_MILLI;
  unit.unit[0] = IGTL_UNIT_SI_DERIVED_NEWTON;
  unit.exp[0] = 1;
  unit.unit[1] = IGTL_UNIT_SI_BASE_METER;
  unit.exp[1] = -2;
  sensor->SetUnit(igtl_unit_pack(&unit));
  sensor->SetLength(3);
  for (unsigned at = 0; at < 3; at++) sensor->SetValue(at, 0.125 * at - 1.0);
  write(sensor, "sensor");

  igtl::NDArrayMessage::Pointer array = igtl::NDArrayMessage::New();
  address(array, "Dose");
  igtl::Array<igtlFloat32> values;
  igtl::ArrayBase::IndexType size(2);
  size[0] = 2;
  size[1] = 3;
  values.SetSize(size);
  float data[6] = {0.5F, 1.5F, 2.5F, -3.5F, 4.5F, 5.5F};
  values.SetArray(data);
  array->SetArray(igtl::NDArrayMessage::TYPE_FLOAT32, &values);
  write(array, "ndarray");
}

static void texts() {
  igtl::StatusMessage::Pointer status = igtl::StatusMessage::New();
  address(status, "Arm");
  status->SetCode(igtl::StatusMessage::STATUS_NOT_READY);
  status->SetSubCode(-7);
  status->SetErrorName("BRAKES");
  status->SetStatusString("brakes are engaged");
  write(status, "status");

  igtl::StringMessage::Pointer string = igtl::StringMessage::New();
  address(string, "Console");
  string->SetString("irrigation on");
  write(string, "string");

  igtl::CapabilityMessage::Pointer speaks = igtl::CapabilityMessage::New();
  address(speaks, "Console");
  speaks->SetNumberOfTypes(2);
  speaks->SetType(0, "TRANSFORM");
  speaks->SetType(1, "GET_IMAGE");
  write(speaks, "capability");
}

static void bundles() {
  igtl::Matrix4x4 matrix;
  quarter_turn(matrix);
  igtl::TransformMessage::Pointer transform = igtl::TransformMessage::New();
  address(transform, "Stylus");
  transform->SetMatrix(matrix);
  transform->Pack();
  igtl::StringMessage::Pointer odd = igtl::StringMessage::New();
  address(odd, "Note");
  odd->SetString("odd");
  odd->Pack();
  igtl::BindMessage::Pointer bundle = igtl::BindMessage::New();
  address(bundle, "Both");
  bundle->AppendChildMessage(transform);
  bundle->AppendChildMessage(odd);
  write(bundle, "bind");

  igtl::GetBindMessage::Pointer get = igtl::GetBindMessage::New();
  address(get, "Both");
  get->AppendChildMessage("TRANSFORM", "Stylus");
  get->AppendChildMessage("STRING", "Notes");
  write(get, "get_bind_odd_names");
  igtl::GetBindMessage::Pointer even = igtl::GetBindMessage::New();
  address(even, "Both");
  even->AppendChildMessage("TRANSFORM", "Stylus");
  even->AppendChildMessage("STRING", "Note");
  write(even, "get_bind");
  igtl::StartBindMessage::Pointer start = igtl::StartBindMessage::New();
  address(start, "Both");
  start->SetResolution(0x80000000);
  write(start, "stt_bind_all");
  igtl::StartBindMessage::Pointer some = igtl::StartBindMessage::New();
  address(some, "Both");
  some->SetResolution(0x80000000);
  some->AppendChildMessage("TDATA", "Tracker");
  write(some, "stt_bind");
  igtl::RTSBindMessage::Pointer reply = igtl::RTSBindMessage::New();
  address(reply, "Both");
  reply->SetStatus(igtl::RTSBindMessage::STATUS_ERROR);
  write(reply, "rts_bind");
  ask<igtl::StopBindMessage>("stp_bind", "Both");
}

static void requests() {
  ask<igtl::GetTransformMessage>("get_trans", "Stylus");
  ask<igtl::GetImageMessage>("get_image", "Ultrasound");
  ask<igtl::GetStatusMessage>("get_status", "");
  ask<igtl::GetCapabilityMessage>("get_capabil", "");
  ask<igtl::GetPolyDataMessage>("get_polydata", "Cortex");
  ask<igtl::StopTrackingDataMessage>("stp_tdata", "Tracker");
  igtl::StartTrackingDataMessage::Pointer start = igtl::StartTrackingDataMessage::New();
  address(start, "Tracker");
  start->SetResolution(50);
  start->SetCoordinateName("Patient");
  write(start, "stt_tdata");
  igtl::StartQuaternionTrackingDataMessage::Pointer turned = igtl::StartQuaternionTrackingDataMessage::New();
  address(turned, "Tracker");
  turned->SetResolution(20);
  turned->SetCoordinateName("Reference");
  write(turned, "stt_qtdata");
  igtl::RTSTrackingDataMessage::Pointer reply = igtl::RTSTrackingDataMessage::New();
  address(reply, "Tracker");
  reply->SetStatus(igtl::RTSTrackingDataMessage::STATUS_SUCCESS);
  write(reply, "rts_tdata");
}

int main(int count, char **words) {
  folder = count > 1 ? words[1] : ".";
  poses();
  images();
  marks();
  meshes();
  numbers();
  texts();
  bundles();
  requests();
  return 0;
}
