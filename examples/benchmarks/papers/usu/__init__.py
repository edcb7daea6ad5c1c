"""Attribution Upsampling should Redistribute, Not Interpolate (Buono et al.): controlled shapes and faithfulness."""
