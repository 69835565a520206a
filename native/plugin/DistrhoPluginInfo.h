// What DPF asks of a plug-in, for every format. CHANNELS, 1 or 2, comes from the build.
#pragma once

#define DISTRHO_PLUGIN_BRAND "rtsr"
#if CHANNELS == 1
#define DISTRHO_PLUGIN_NAME "rtsr"
#define DISTRHO_PLUGIN_URI "urn:rtsr:mono"
#define DISTRHO_PLUGIN_UNIQUE_ID rtsM
#define DISTRHO_PLUGIN_CLAP_ID "rtsr.mono"
#else
#define DISTRHO_PLUGIN_NAME "rtsr stereo"
#define DISTRHO_PLUGIN_URI "urn:rtsr:stereo"
#define DISTRHO_PLUGIN_UNIQUE_ID rtsS
#define DISTRHO_PLUGIN_CLAP_ID "rtsr.stereo"
#endif
#define DISTRHO_PLUGIN_BRAND_ID Rtsr
#define DISTRHO_PLUGIN_CLAP_FEATURES "audio-effect", "restoration", CHANNELS == 1 ? "mono" : "stereo"
#define DISTRHO_PLUGIN_LV2_CATEGORY "lv2:SpectralPlugin"
#define DISTRHO_PLUGIN_VST3_CATEGORIES "Fx|Restoration"

#define DISTRHO_PLUGIN_NUM_INPUTS CHANNELS
#define DISTRHO_PLUGIN_NUM_OUTPUTS CHANNELS
#define DISTRHO_PLUGIN_HAS_UI 0
#define DISTRHO_PLUGIN_IS_RT_SAFE 1
#define DISTRHO_PLUGIN_WANT_LATENCY 1
#ifdef DISTRHO_PLUGIN_TARGET_CLAP  // where DPF saves parameters only along with states, of which there are none
#define DISTRHO_PLUGIN_WANT_STATE 1
#endif
